"""DNS records of keys: made, and compared with what DNS says."""

import base64

import pytest

from omicard_relay.signing import DkimKey, RecordFault, record_faults, record_text, zone_line


def test_an_ed25519_record_holds_the_bare_key(ed_key: DkimKey) -> None:
    assert record_text(ed_key).startswith("v=DKIM1; k=ed25519; p=")
    assert len(base64.b64decode(record_text(ed_key).partition("p=")[2])) == 32


def test_a_zone_line_cuts_the_value_into_short_strings(rsa_key: DkimKey) -> None:
    line = zone_line(rsa_key)
    assert line.startswith('r1._domainkey.example.com. IN TXT ( "v=DKIM1; k=rsa; p=')
    strings = line.split('"')[1::2]
    assert [len(string) <= 255 for string in strings] == [True, True]
    assert "".join(strings) == record_text(rsa_key)


def test_the_right_record_has_no_fault(rsa_key: DkimKey, ed_key: DkimKey) -> None:
    for key in (rsa_key, ed_key):
        assert record_faults(key, (record_text(key).encode(),)) == ()


def test_other_legal_spellings_have_no_fault(rsa_key: DkimKey) -> None:
    public = record_text(rsa_key).partition("p=")[2]
    assert record_faults(rsa_key, (f"p={public}".encode(),)) == ()
    spaced = f" v = DKIM1 ;h=sha1:sha256; s=email; t=s; p={public[:40]} {public[40:]} ;"
    assert record_faults(rsa_key, (spaced.encode(),)) == ()


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        pytest.param(lambda text: (), (RecordFault.MISSING,), id="missing"),
        pytest.param(lambda text: (text, b"v=spf1 -all"), (RecordFault.SEVERAL,), id="several"),
        pytest.param(lambda text: (b"v=spf1 -all",), (RecordFault.MALFORMED,), id="spf"),
        pytest.param(lambda text: (b"hello",), (RecordFault.MALFORMED,), id="no-tags"),
        pytest.param(lambda text: (b"",), (RecordFault.MALFORMED,), id="empty"),
        pytest.param(lambda text: (b"\xff=\xfe",), (RecordFault.MALFORMED,), id="8-bit"),
        pytest.param(lambda text: (text + b"; p=x",), (RecordFault.MALFORMED,), id="tag-twice"),
        pytest.param(lambda text: (text[:-1],), (RecordFault.MALFORMED,), id="base64-cut"),
        pytest.param(lambda text: (text.replace(b"DKIM1", b"DKIM2"),), (RecordFault.MALFORMED,), id="version"),
        pytest.param(lambda text: (b"v=DKIM1; p=",), (RecordFault.REVOKED,), id="revoked"),
        pytest.param(lambda text: (text.replace(b"ed25519", b"rsa"),), (RecordFault.OTHER_KIND,), id="kind"),
        pytest.param(lambda text: (b"v=DKIM1; k=ed25519; p=AAAA",), (RecordFault.OTHER_KEY,), id="other-key"),
        pytest.param(lambda text: (text + b"; h=sha1",), (RecordFault.NO_SHA256,), id="sha1"),
        pytest.param(lambda text: (text + b"; s=tlsrpt",), (RecordFault.NOT_FOR_MAIL,), id="service"),
        pytest.param(lambda text: (text + b"; t=y:s",), (RecordFault.TESTING,), id="testing"),
    ],
)
def test_each_fault_is_found(ed_key: DkimKey, change, faults: tuple[RecordFault, ...]) -> None:
    assert record_faults(ed_key, change(record_text(ed_key).encode())) == faults
