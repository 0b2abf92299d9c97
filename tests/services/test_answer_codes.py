"""Automatic replies from the mail to the code: absence 906, departure 912, new address 908, challenge 936, in each language."""

import pytest

from omicard_relay.mail import MailKind
from omicard_relay.services.judging import judge_of
from omicard_relay.tables import load_policies
from tests.mailreading import read_mail

JUDGE = judge_of(load_policies())


def answer(
    text: str, subject: str = "Auto: Spring", fields: str = "Auto-Submitted: auto-replied"
) -> tuple[int, str | None]:
    raw = (
        f"From: Ann <ann@old.example>\nTo: b+token@bounces.sender.example\nSubject: {subject}\n{fields}\n"
        f"In-Reply-To: <spring-1@sender.example>\nContent-Type: text/plain; charset=utf-8\n\n{text}\n"
    )
    found = read_mail(raw.encode())
    assert found.kind is MailKind.AUTOREPLY
    (evidence,) = found.evidence
    verdict = JUDGE.judge(evidence)
    assert verdict is not None
    return int(verdict.bounce_code), evidence.new_address


ABSENT = {
    "en": "I am out of the office until 3 May. For urgent matters please contact Bob at bob@old.example.",
    "en-leave": "I'm on maternity leave. During my absence please write to bob@old.example instead.",
    "en-not-read": "I am on vacation; this mailbox is not monitored while I'm away. Contact bob@old.example.",
    "en-mixed": "I am away until Monday. Note that Carl no longer uses his old phone.",
    "en-other": "I'm travelling this week with limited access to e-mail and will reply when I return.",
    "zh-TW": "您好，我休假至五月三日，急事請洽同事王小明 bob@old.example，謝謝。",
    "zh-TW-trip": "本人出差中，五月三日返回辦公室。出差期間請聯絡職務代理人 bob@old.example",
    "zh-CN": "您好，我正在休假，五月三日返回公司。紧急事务请联系同事 bob@old.example。",
    "zh-CN-qq": "这是来自QQ邮箱的自动回复邮件。您好，您的邮件我已收到，会尽快回复。",
    "ja": "5月3日まで休暇のため不在にしております。お急ぎの方は代理の佐藤 bob@old.example までご連絡ください。",
    "ja-trip": "現在出張中です。戻り次第ご返信いたします。",
    "ko": "5월 3일까지 휴가입니다. 급한 일은 bob@old.example 으로 연락해 주세요.",
    "de": "Ich bin bis zum 3. Mai nicht im Büro. In dringenden Fällen wenden Sie sich bitte an bob@old.example.",
    "de-meanwhile": "Ich bin im Urlaub. Bitte schreiben Sie stattdessen an bob@old.example.",
    "fr": "Je suis absente du bureau jusqu'au 3 mai. En cas d'urgence, merci de contacter bob@old.example.",
    "es": "Estoy de vacaciones hasta el 3 de mayo. Para asuntos urgentes escriba a bob@old.example.",
    "pt": "Estou de férias até 3 de maio. Em caso de urgência, favor escrever para bob@old.example.",
    "it": "Sono in ferie fino al 3 maggio. Per urgenze scrivere a bob@old.example.",
    "nl": "Ik ben met vakantie tot en met 3 mei. Voor dringende zaken kunt u mailen naar bob@old.example.",
    "ru": "Я в отпуске до 3 мая. По срочным вопросам пишите на bob@old.example.",
    "pl": "Jestem na urlopie do dnia 3 maja. W pilnych sprawach proszę pisać na bob@old.example.",
    "sv": "Jag är på semester till och med den 3 maj.",
    "received": "We have received your message and will answer within one business day. Your ticket number is 4711.",
    "received-de": "Vielen Dank für Ihre Anfrage, sie ist bei uns eingegangen. Vorgangsnummer 4711.",
    "received-ja": "お問い合わせありがとうございます。担当者よりご連絡いたします。",
    "received-zh": "我們已收到您的來信，將儘快回覆，案件編號 4711。",
}


@pytest.mark.parametrize("name", ABSENT)
def test_absence_is_906_and_a_stand_in_no_new_address(name: str) -> None:
    assert answer(ABSENT[name]) == (906, None)


LEFT = {
    "en": "Ann no longer works at Example Ltd.",
    "en-colleague": "Ann has left the company. Please contact my colleague Bob, bob@old.example.",
    "en-desk": "I have left the company. Please send your questions to support@old.example.",
    "en-retired": "Ann has retired. Thank you.",
    "en-closed": "This mailbox is no longer monitored.",
    "en-address": "ann@old.example is no longer in use.",
    "zh-TW": "王小明已離職，業務由同事接手，請洽 bob@old.example。",
    "zh-TW-closed": "此信箱已停用。",
    "zh-CN": "王小明已离职，工作由我的同事负责，请联系 bob@old.example。",
    "zh-CN-closed": "此邮箱已停用，不再使用。",
    "ja": "佐藤は3月末で退職いたしました。後任の鈴木 bob@old.example までご連絡ください。",
    "ja-closed": "このメールアドレスは現在使用しておりません。",
    "ko": "김민수는 퇴사하였습니다. 후임자 bob@old.example 에게 연락해 주세요.",
    "ko-closed": "이 메일 주소는 더 이상 사용하지 않습니다.",
    "de": "Frau Muster ist nicht mehr in unserem Unternehmen tätig. Ihre Nachfolgerin ist bob@old.example.",
    "de-closed": "Dieses Postfach wird nicht mehr gelesen.",
    "fr": "Anne ne travaille plus chez nous. Veuillez contacter son remplaçant Paul, bob@old.example.",
    "fr-closed": "Cette adresse n'est plus utilisée.",
    "es": "Ana ya no trabaja en la empresa. Contacte con su compañera Eva: bob@old.example.",
    "es-closed": "Esta dirección ya no está activa.",
    "pt": "A Ana não trabalha mais na empresa. Contate a colega Eva: bob@old.example.",
    "pt-closed": "Este e-mail foi desativado.",
    "it": "Anna non lavora più in azienda. Contattare la collega Eva: bob@old.example.",
    "it-closed": "Questo indirizzo non è più attivo.",
    "nl": "Anna is niet meer werkzaam bij ons. Haar opvolger is bob@old.example.",
    "nl-closed": "Dit adres is niet meer in gebruik.",
    "ru": "Анна больше не работает в компании. По рабочим вопросам обращайтесь к коллеге: bob@old.example.",
    "ru-closed": "Этот адрес больше не используется.",
    "pl": "Anna już nie pracuje w firmie.",
    "sv": "Anna har slutat hos oss.",
    "da": "Anna arbejder ikke længere her.",
}


@pytest.mark.parametrize("name", LEFT)
def test_departure_without_a_new_address_is_912(name: str) -> None:
    assert answer(LEFT[name]) == (912, None)


MOVED = {
    "en": "My new e-mail address is ann@new.example.",
    "en-next-line": "Please note that my e-mail address has changed. My new address:\n\n    ann@new.example\n\nAnn",
    "en-from-to": "My address has changed from ann.lee@before.example to ann@new.example.",
    "en-replaced": "ann.lee@before.example has been replaced by ann@new.example.",
    "en-hidden": "My new address is ann (at) new.example",
    "en-hidden-dots": "My new address is ann [at] new [dot] example",
    "en-mailto": "My new address is <mailto:ann@new.example>.",
    "en-wide": "My new address is ann＠new.example",
    "en-behind": "ann@new.example is my new address.",
    "en-gone": "I no longer use this account. Please write to ann@new.example.",
    "en-left": "I have left Example Ltd. You can now reach me at ann@new.example.",
    "en-from-now": "This mailbox will be closed. From now on use ann@new.example.",
    "en-stand-in-first": "For urgent matters contact bob@old.example. My new address is ann@new.example.",
    "zh-TW": "您好，我的新信箱是 ann@new.example，請更新通訊錄。",
    "zh-TW-from-to": "我的電子信箱已由 ann.lee@before.example 變更為 ann@new.example。",
    "zh-TW-closed": "此信箱已停用，請改寄 ann@new.example。",
    "zh-TW-wide": "我的新信箱：ann＠new.example",
    "zh-CN": "您好，我的新邮箱是ann@new.example，请更新通讯录。",
    "zh-CN-from-to": "我的邮箱已从 ann.lee@before.example 更换为 ann@new.example",
    "zh-CN-closed": "此邮箱已停用，请改发至 ann@new.example。",
    "ja": "メールアドレスが変わりました。新しいアドレスは ann@new.example です。",
    "ja-from-to": "メールアドレスを ann.lee@before.example から ann@new.example に変更しました。",
    "ja-line": "アドレスを下記に変更いたしました。\n\nann@new.example\n",
    "ko": "제 새 이메일 주소는 ann@new.example 입니다.",
    "ko-from-to": "메일 주소가 ann.lee@before.example 에서 ann@new.example 로 변경되었습니다.",
    "de": "Meine neue E-Mail-Adresse lautet ann@new.example.",
    "de-from-to": "Meine Adresse hat sich geändert von ann.lee@before.example auf ann@new.example.",
    "de-from-now": "Diese Adresse wird nicht mehr gelesen. Sie erreichen mich ab sofort unter ann@new.example.",
    "fr": "Ma nouvelle adresse est ann@new.example.",
    "fr-from-to": "Mon adresse a changé de ann.lee@before.example à ann@new.example.",
    "fr-from-now": "Cette adresse n'est plus utilisée. Merci de m'écrire désormais à l'adresse ann@new.example.",
    "es": "Mi nueva dirección de correo es ann@new.example.",
    "es-from-to": "Mi correo ha cambiado de ann.lee@before.example a ann@new.example.",
    "pt": "Meu novo endereço de e-mail é ann@new.example.",
    "pt-from-to": "Meu e-mail mudou de ann.lee@before.example para ann@new.example.",
    "it": "Il mio nuovo indirizzo è ann@new.example.",
    "it-from-to": "Il mio indirizzo è cambiato da ann.lee@before.example a ann@new.example.",
    "nl": "Mijn nieuwe e-mailadres is ann@new.example.",
    "nl-from-to": "Mijn adres is gewijzigd van ann.lee@before.example naar ann@new.example.",
    "ru": "Мой новый адрес: ann@new.example",
    "ru-from-to": "Адрес изменился с ann.lee@before.example на ann@new.example.",
    "pl": "Mój nowy adres to ann@new.example.",
    "sv": "Min nya e-postadress är ann@new.example.",
    "da": "Min nye e-mailadresse er ann@new.example.",
}


@pytest.mark.parametrize("name", MOVED)
def test_announced_address_is_908(name: str) -> None:
    assert answer(MOVED[name]) == (908, "ann@new.example")


@pytest.mark.parametrize(
    "text",
    [
        "Please click below to confirm that you are human; your message will be delivered as soon as you do.",
        "Bitte bestätigen Sie, dass Sie ein Mensch sind.",
        "寄件者驗證：請點選以下連結，完成驗證後才會送達。",
        "Clique aqui para que sua mensagem seja entregue.",
        "Cliquez ici pour que votre message soit délivré.",
        "Подтвердите, что вы не робот.",
        "Your message to Staff awaits moderator approval.",
    ],
    ids=["en", "de", "zh-TW", "pt", "fr", "ru", "moderator"],
)
def test_challenge_and_moderator_are_936(text: str) -> None:
    assert answer(text)[0] == 936
