"""MAIL, RCPT and XFORWARD arguments: what is read, what is refused, and that nothing we know becomes 555."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omicard_relay.services.relay.parameters import CommandError, parse_mail, parse_rcpt, parse_xforward


def mail(argument, extended=True):
    return parse_mail(argument, extended=extended, size_limit=1000)


def rcpt(argument):
    return parse_rcpt(argument, extended=True)


def refusal(parse, argument):
    with pytest.raises(CommandError) as caught:
        parse(argument)
    return caught.value.reply


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        pytest.param("FROM:<a@b.test>", "a@b.test", id="plain"),
        pytest.param("from:<a@b.test>", "a@b.test", id="lower-case"),
        pytest.param("FROM: <a@b.test>", "a@b.test", id="space"),
        pytest.param("FROM:a@b.test SIZE=5", "a@b.test", id="no-brackets"),
        pytest.param("FROM:<>", "", id="null"),
        pytest.param("FROM:<> BODY=8BITMIME", "", id="null-with-parameter"),
        pytest.param('FROM:<"a> b"@c.test>', '"a> b"@c.test', id="quoted-bracket"),
        pytest.param('FROM:<"a\\"b"@c.test>', '"a\\"b"@c.test', id="quoted-quote"),
        pytest.param("FROM:<@x.test,@y.test:a@b.test>", "a@b.test", id="source-route"),
        pytest.param("FROM:<root>", "root", id="no-domain"),
        pytest.param("FROM:<王@例.test>", "王@例.test", id="utf-8"),
    ],
)
def test_reverse_path(argument, path):
    assert mail(argument).reverse_path == path


def test_parameters_keep_their_spelling():
    command = mail("FROM:<a@b.test> size=10 body=8bitmime SMTPUTF8 ret=hdrs ENVID=Ab+2BcD AUTH=<>")

    assert (command.size, command.body, command.smtputf8, command.ret, command.envid) == (
        10,
        "8bitmime",
        True,
        "hdrs",
        "Ab+2BcD",
    )


def test_recipient_parameters_keep_their_spelling():
    command = rcpt("TO:<A@b.test> NOTIFY=Success,FAILURE ORCPT=rfc822;User+2BTag@B.test")

    assert (command.forward_path, command.notify, command.orcpt) == (
        "A@b.test",
        "Success,FAILURE",
        "rfc822;User+2BTag@B.test",
    )


@pytest.mark.parametrize(
    ("notify", "wants"), [(None, True), ("NEVER", False), ("success", False), ("DELAY,failure", True)], ids=str
)
def test_who_wants_a_failure_notice(notify, wants):
    assert rcpt("TO:<a@b.test>" + (f" NOTIFY={notify}" if notify else "")).wants_failure_notice is wants


@pytest.mark.parametrize(
    ("parse", "argument", "reply"),
    [
        pytest.param(mail, "", "501 5.5.4", id="nothing"),
        pytest.param(mail, "<a@b.test>", "501 5.5.4", id="no-keyword"),
        pytest.param(mail, "FROM:", "501 5.5.4", id="no-path"),
        pytest.param(mail, "FROM:<a@b.test", "501 5.1.3", id="unclosed"),
        pytest.param(mail, "FROM:<a@b.test>x", "501 5.1.3", id="glued"),
        pytest.param(mail, "FROM:a<b@c.test>", "501 5.5.4", id="text-before"),
        pytest.param(mail, "FROM:<a@b.test> SIZE=abc", "501 5.5.4", id="size-no-number"),
        pytest.param(mail, "FROM:<a@b.test> SIZE=" + "9" * 21, "501 5.5.4", id="size-too-long"),
        pytest.param(mail, "FROM:<a@b.test> SIZE=1001", "552 5.3.4", id="size-too-much"),
        pytest.param(mail, "FROM:<a@b.test> BODY=BINARYMIME", "501 5.5.4", id="body"),
        pytest.param(mail, "FROM:<a@b.test> SMTPUTF8=1", "501 5.5.4", id="smtputf8-value"),
        pytest.param(mail, "FROM:<a@b.test> RET=ALL", "501 5.5.4", id="ret"),
        pytest.param(mail, "FROM:<a@b.test> ENVID=a+zz", "501 5.5.4", id="envid-no-xtext"),
        pytest.param(mail, "FROM:<a@b.test> ENVID=" + "a" * 101, "501 5.5.4", id="envid-too-long"),
        pytest.param(mail, "FROM:<a@b.test> ENVID=", "501 5.5.4", id="envid-empty"),
        pytest.param(mail, "FROM:<a@b.test> ENVID", "501 5.5.4", id="envid-no-value"),
        pytest.param(mail, "FROM:<a@b.test> RET=FULL RET=HDRS", "501 5.5.4", id="twice"),
        pytest.param(mail, "FROM:<a@b.test> NOTIFY=NEVER", "501 5.5.4", id="notify-on-mail"),
        pytest.param(mail, "FROM:<a@b.test> HOLDFOR=5", "555 5.5.4", id="unknown"),
        pytest.param(mail, "FROM:<a@b.test> =5", "501 5.5.4", id="no-name"),
        pytest.param(rcpt, "TO:<>", "501 5.1.3", id="rcpt-null"),
        pytest.param(rcpt, "TO:<a@b.test> NOTIFY=NEVER,DELAY", "501 5.5.4", id="never-with-others"),
        pytest.param(rcpt, "TO:<a@b.test> NOTIFY=SOMETIMES", "501 5.5.4", id="notify-word"),
        pytest.param(rcpt, "TO:<a@b.test> ORCPT=a@b.test", "501 5.5.4", id="orcpt-no-type"),
        pytest.param(rcpt, "TO:<a@b.test> ORCPT=rfc822;a+b", "501 5.5.4", id="orcpt-no-xtext"),
        pytest.param(rcpt, "TO:<a@b.test> RET=FULL", "501 5.5.4", id="ret-on-rcpt"),
        pytest.param(rcpt, "TO:<a@b.test> FOO=1", "555 5.5.4", id="rcpt-unknown"),
        pytest.param(parse_xforward, "", "501 5.5.4", id="xforward-nothing"),
        pytest.param(parse_xforward, "COLOR=red", "501 5.5.4", id="xforward-name"),
        pytest.param(parse_xforward, "NAME", "501 5.5.4", id="xforward-no-value"),
        pytest.param(parse_xforward, "NAME=" + "a" * 256, "501 5.5.4", id="xforward-too-long"),
    ],
)
def test_refusals(parse, argument, reply):
    assert refusal(parse, argument).startswith(reply)


def test_parameters_need_ehlo():
    assert refusal(lambda text: mail(text, extended=False), "FROM:<a@b.test> SIZE=1").startswith("501 5.5.4")


@pytest.mark.parametrize("orcpt", ["utf-8;王@例.test", "utf-8;\\x{738B}@x.test"], ids=["raw", "escaped"])
def test_a_utf_8_original_recipient_is_taken(orcpt):
    assert rcpt(f"TO:<a@b.test> ORCPT={orcpt}").orcpt == orcpt


def test_xforward_is_decoded():
    assert parse_xforward("NAME=a+2Bb addr=192.0.2.1 IDENT=[UNAVAILABLE]") == {
        "NAME": b"a+b",
        "ADDR": b"192.0.2.1",
        "IDENT": b"[UNAVAILABLE]",
    }


@given(st.text())
def test_any_argument_is_read_or_refused(text):
    for parse, prefix in ((mail, "FROM:"), (rcpt, "TO:"), (parse_xforward, "")):
        for argument in (text, prefix + text, f"{prefix}<{text}> {text}"):
            with contextlib.suppress(CommandError):
                parse(argument)


@given(st.sampled_from(["RET", "ENVID", "NOTIFY", "ORCPT"]), st.text())
def test_a_dsn_parameter_never_becomes_555(name, value):
    for parse, path in ((mail, "FROM:<a@b.test>"), (rcpt, "TO:<a@b.test>")):
        with contextlib.suppress(CommandError):
            parse(f"{path} {name}={value.split(' ')[0]}")
            continue
        assert refusal(parse, f"{path} {name}={value.split(' ')[0]}").startswith("501 ")
