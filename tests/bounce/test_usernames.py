"""Recipients without a domain, and noise beside a reason."""

import pytest

from omicard_relay.bounce.noise import without_noise
from omicard_relay.bounce.stanzas import read_stanzas
from omicard_relay.bounce.text import spaced
from omicard_relay.bounce.usernames import bare_stanzas


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("The mailbox of user jdoe_7 is closed.", "jdoe_7", id="a-name-with-a-number"),
        pytest.param("宛先: s1850 (学生用メール)", "s1850", id="behind-a-label"),
        pytest.param("Recipient 'carol' may not write here", "carol", id="in-quotes"),
        pytest.param("對象 b9430 (alumni.school.example) 已停用", "b9430@alumni.school.example", id="with-its-host"),
    ],
)
def test_user_name_behind_a_label_is_the_recipient(text: str, name: str) -> None:
    assert [stanza.recipient for stanza in bare_stanzas(text)] == [name]


@pytest.mark.parametrize("text", ["The user is unknown.", "deliver to mail.example.com", "account 1234.5"])
def test_words_and_hosts_are_no_user_names(text: str) -> None:
    assert bare_stanzas(text) == ()


def test_recipients_in_a_list_share_the_words_below() -> None:
    text = "These recipients failed:\n\nann@example.com\nbob@example.com\n\n550 5.1.1 no such mailbox\n"
    assert [(one.recipient, one.words) for one in read_stanzas(text)] == [
        ("ann@example.com", "550 5.1.1 no such mailbox"),
        ("bob@example.com", "550 5.1.1 no such mailbox"),
    ]


def test_address_to_write_to_is_no_recipient() -> None:
    text = "Your mail to ann@example.com was not delivered. Please write to\nbob@example.com\n"
    assert [one.recipient for one in read_stanzas(text)] == ["ann@example.com"]


def test_fields_and_footers_are_no_reason() -> None:
    assert (
        without_noise("Subject: mailbox full of offers\nmailbox closed\nDo not reply to this message")
        == "mailbox closed"
    )


def test_underscores_of_a_gateway_are_spaces() -> None:
    assert spaced("said:_550_5.1.1_no_such_user/") == "said: 550 5.1.1 no such user/"
    assert spaced("see my_4_user_name here") == "see my_4_user_name here"
