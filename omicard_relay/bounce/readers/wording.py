"""How automatic replies call themselves, in the languages that we read: tables of words, no judgement.

Each entry is matched case-blind; subjects at their beginning. `NAMED` says what the mail is; `ABSENT` is what an
absent person writes, which a person may write too, so it counts only beside another mark (readers/autoreply.py).
"""

import re

__all__ = ["ABSENT", "NAMED"]

_NAMED = {
    "en": r"auto(?:matic|mated|matically generated)?[ -]?(?:reply|response|responder|answer)"
    r"|out[ -]of[ -](?:the[ -])?office|"
    r"auto: .{0,80}(?:out of|away)|vacation (?:reply|response|message|notice|auto)|away (?:message|notice"
    r"|notification)|absence (?:notice|notification)",
    "zh-TW": r"自動(?:回覆|回復|答覆|回信)|不在辦公室|外出(?:自動|通知)|休假(?:通知|自動)",
    "zh-CN": r"自动(?:回复|答复|回信)|不在办公室|外出(?:自动|通知)|休假(?:通知|自动)",
    "ja": r"自動(?:返信|応答|返答|送信)|不在(?:通知|のお知らせ|の連絡|のため)|休暇のお知らせ",
    "ko": r"자동 ?(?:회신|응답|답장)|부재 ?중",
    "de": r"automatische (?:antwort|rückantwort|e-?mail|rückmeldung)|abwesenheits\w{0,20}|abwesend|außer haus",
    "fr": r"réponse automatique|(?:message|notification|notice|avis) d['’ ]absence|absence du bureau"
    r"|absent du bureau|absence automatique",
    "es": r"respuesta autom[áa]tica|fuera de (?:la )?oficina|mensaje de ausencia",
    "pt": r"resposta autom[áa]tica|fora do escrit[óo]rio|aviso de aus[êe]ncia|mensagem de aus[êe]ncia"
    r"|aus[êe]ncia tempor[áa]ria",
    "it": r"risposta automatica|fuori (?:sede|ufficio)|messaggio di assenza|avviso di assenza",
    "nl": r"automatisch(?:e)? (?:antwoord|beantwoord\w{0,5}|reactie)|afwezigheid\w{0,20}|afwezig\b",
    "ru": r"автоматическ\w{1,4} ответ|автоответ\w{0,6}|вне офиса|отсутствие на рабочем",
    "pl": r"automatyczna odpowied[źz]|autoodpowied[źz]|odpowied[źz] automatyczna|autoresponder|poza biurem"
    r"|nieobecno[śs][ćc]",
    "lv": r"(?:ārpus|arpus) biroja|automātiska atbilde|automatiska atbilde",
    "sv": r"autosvar|automatiskt svar|frånvaro\w{0,10}",
}
_ABSENT = {
    "en": r"i(?: am|['’]m| will be)(?: currently| presently)? (?:away|out of|on (?:annual |maternity "
    r"|paternity |parental |sick )?(?:leave|vacation|holiday))|"
    r"(?:currently|presently) out of (?:the )?(?:office|town)|out of (?:the|my) office|away from (?:my"
    r"|the) (?:office|desk|e-?mail|computer)|"
    r"on (?:vacation|holiday|annual leave|maternity leave)|limited access to (?:my )?e-?mail"
    r"|automatic(?:ally)? (?:generated )?(?:reply|response)|"
    r"this is an auto(?:mated|matic)? ?-?(?:reply|response|message)|autoresponse|auto-?reply|"
    r"(?:have|has) received your (?:e-?mail|message|request|inquiry)|thank you for (?:contacting"
    r"|your e-?mail|your message|writing)",
    "zh": r"(?:休假|請假|请假|出差|外出|度假|不在辦公室|不在办公室|年假|產假|产假)|(?:已|經"
    r"|经)收到您的(?:來信|来信|郵件|邮件)|系統自動|系统自动|自動回[覆復]|自动回复",
    "ja": r"不在|休暇|休業|お休み|出張|自動(?:返信|応答)",
    "ko": r"부재|휴가|출장|외출|자동 ?(?:회신|응답)",
    "de": r"nicht (?:im (?:büro|haus)|erreichbar)|im urlaub|abwesend|abwesenheit|außer haus|ihre (?:e-?mail"
    r"|nachricht) (?:wurde|ist)",
    "fr": r"(?:suis|serai) (?:actuellement )?(?:absent|en congé|en vacances|hors du bureau)|absente? (?:du"
    r"|jusqu)|en congés?\b|bien reçu votre",
    "es": r"(?:estoy|estaré|encuentro) (?:actualmente )?(?:fuera|ausente|de vacaciones)|de vacaciones"
    r"|hemos recibido su",
    "pt": r"(?:estou|estarei) (?:atualmente )?(?:fora|ausente|de férias|em férias)|de férias|em férias"
    r"|recebemos (?:a sua|seu|sua)",
    "it": r"(?:sono|sarò) (?:attualmente )?(?:fuori|assente|in ferie)|in ferie|abbiamo ricevuto la",
    "nl": r"(?:ben|niet) (?:momenteel |op dit moment )?(?:afwezig|aanwezig|niet aanwezig|op vakantie)"
    r"|op vakantie|met verlof|afwezig",
    "ru": r"в отпуске|в командировке|отсутствую|нет на рабочем месте|ваше письмо (?:получено|принято)",
    "pl": r"jestem (?:nieobecn|na urlopie)|na urlopie|nieobecn\w{1,4}|przebywam",
    "sv": r"är (?:inte på|borta|på semester|tjänstledig)|på semester",
}

#: At the beginning of a subject, behind brackets and the like.
NAMED = re.compile(r"[\W_]{0,10}(?:" + "|".join(_NAMED.values()) + ")", re.I)
#: Anywhere in a subject or in a person's own words.
ABSENT = re.compile("|".join(_ABSENT.values()), re.I)
