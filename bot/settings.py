"""All settings, from the environment and .env, in one place. The table of docs/operators.md is tested against this file."""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import load_dotenv

from actions.organisation import Organisation, default_path
from actions.organisation import read as read_organisation

ROOT = Path(__file__).resolve().parents[1]
SENSITIVE_TOPICS = frozenset({"domestic_violence", "human_trafficking", "crisis"})
"""Their context is forgotten sooner: the phone may be in another hand."""


DELETE_AFTER = 5
"""Minutes. Twilio needs a message until its delivery is final (https://www.twilio.com/docs/messaging/api/message-resource), and we begin to
count then; what is asked for again comes within seconds. The rest is for an operator who looks why a message did not arrive."""
LEAST_KEY = 16
"""Signs: no key of ours or of a provider is shorter."""
LOST = "lost"
"""In OUTREACH_SECRET_BEFORE: nobody has the former secret any more."""


class SettingError(ValueError):
    """A setting that cannot be used: names the variable and what to write."""


def shown(value: str) -> str:
    """A value that cannot be used, for an error's text: what stands there may be a key that went into the wrong line.

    >>> shown("soon"), shown("x" * 40)
    ("'soon'", "a text of 40 signs")
    """
    return repr(value) if len(value) < LEAST_KEY or os.path.exists(value) else f"a text of {len(value)} signs"


@dataclass(frozen=True)
class Twilio:
    """The account that carries SMS and WhatsApp."""

    account: str
    """TWILIO_ACCOUNT_SID."""
    token: str = field(repr=False)
    """TWILIO_AUTH_TOKEN: signs what Twilio sends us."""
    number: str
    """TWILIO_NUMBER, in E.164: +13055550100."""
    opt_out: str = "twilio"
    """SMS_OPT_OUT: who answers the carriers' own words STOP, START and HELP: twilio or app."""
    delete_after: int = DELETE_AFTER
    """TWILIO_DELETE_AFTER: minutes after delivery until a message is deleted at Twilio; 0 leaves it there."""
    api: str = "https://api.twilio.com"
    """TWILIO_API: another address only in tests."""


@dataclass(frozen=True)
class Telegram:
    """The bot on Telegram."""

    token: str = field(repr=False)
    """TELEGRAM_TOKEN, from @BotFather. It is part of every address that is called: no log may hold one."""
    secret_token: str = field(default="", repr=False)
    """TELEGRAM_SECRET_TOKEN: comes back with every update; empty when polling."""
    api: str = "https://api.telegram.org"
    """TELEGRAM_API: another address only in tests."""


@dataclass(frozen=True)
class Settings:
    """What an operator can set."""

    data: Path
    """OUTREACH_DATA: the one folder where anything is kept."""
    retention_hours: int
    """RETENTION_HOURS: after so many idle hours nothing of a conversation is left. Told to residents."""
    organisation: Organisation = field(default_factory=Organisation)
    """OUTREACH_ORGANISATION: file that says who runs the service."""
    context_minutes: int = 30
    """CONTEXT_MINUTES: after so many idle minutes topics, choices and MORE are forgotten."""
    sensitive_minutes: int = 10
    """SENSITIVE_MINUTES: the same after abuse, trafficking or crisis."""
    host: str = "127.0.0.1"
    """OUTREACH_HOST: the address to listen on."""
    secret: str = field(default="", repr=False)
    """OUTREACH_SECRET: lasting keys come from it; at least 32 characters."""
    secrets_before: tuple[str, ...] = field(default=(), repr=False)
    """OUTREACH_SECRET_BEFORE: former secrets, under which opt-outs may still lie."""
    secret_lost: bool = False
    """OUTREACH_SECRET_BEFORE has the word "lost": opt-outs that nobody finds any more do not stop the start."""
    keys: str | None = None
    """OUTREACH_KEYS: a folder on a tmpfs, or the address of a Redis, for the daily keys; /dev/shm when left out."""
    public_url: str = ""
    """PUBLIC_URL: how the world reaches this server, https, without a path at its end."""
    twilio: Twilio | None = None
    telegram: Telegram | None = None
    chat_origins: tuple[str, ...] = ()
    """CHAT_ORIGINS: sites that may show the chat in a frame."""
    trusted_proxies: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    """TRUSTED_PROXIES: networks whose X-Forwarded-For is believed."""
    redis_url: str = field(default="", repr=False)
    """REDIS_URL: where several servers keep things together."""

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOCAL and not self.public_url


def _whole_number(name: str, default: int, least: int, most: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdigit() or not least <= int(text) <= most:
        raise SettingError(f"{name} is {shown(text)}; write a whole number from {least} to {most}")
    return int(text)


LOCAL = ("127.0.0.1", "localhost", "::1")
LEAST_SECRET = 32
_ORIGIN = re.compile(r"^https?://[a-z0-9.-]+(:\d{1,5})?$", re.IGNORECASE)
_E164 = re.compile(r"^\+[1-9]\d{7,14}$")
_TELEGRAM_TOKEN = re.compile(r"^\d{5,12}:[\w-]{30,}$")
_TELEGRAM_SECRET = re.compile(r"^[\w-]{16,256}$")


def _text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def _public_url() -> str:
    url = _text("PUBLIC_URL").rstrip("/")
    if url and not _ORIGIN.match(url):
        raise SettingError(
            "PUBLIC_URL is no address; write it without a path, name and password, for example https://chat.example.org"
        )
    if url.startswith("http://") and not re.match(r"http://(localhost|127\.0\.0\.1)(:|$)", url):
        raise SettingError(f"PUBLIC_URL is {shown(url)}; messages must travel encrypted: write https://")
    return url


def _twilio(public_url: str, secret: str) -> Twilio | None:
    names = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_NUMBER")
    values = {name: _text(name) for name in names}
    if not any(values.values()):
        return None
    missing = [name for name in names if not values[name]]
    missing += [name for name, value in (("PUBLIC_URL", public_url), ("OUTREACH_SECRET", secret)) if not value]
    if missing:
        raise SettingError(f'SMS is half set: {", ".join(missing)} is missing (docs/operators.md, "SMS and WhatsApp")')
    if not _E164.match(values["TWILIO_NUMBER"]):
        # What stands there may be a key that went into the wrong line: it is not repeated.
        raise SettingError("TWILIO_NUMBER is no number; write it like +13055550100")
    opt_out = _text("SMS_OPT_OUT", "twilio")
    if opt_out not in ("twilio", "app"):
        raise SettingError(f"SMS_OPT_OUT is {shown(opt_out)}; write twilio or app (docs/operators.md)")
    return Twilio(
        account=values["TWILIO_ACCOUNT_SID"],
        token=values["TWILIO_AUTH_TOKEN"],
        number=values["TWILIO_NUMBER"],
        opt_out=opt_out,
        delete_after=_whole_number("TWILIO_DELETE_AFTER", DELETE_AFTER, 0, 7 * 24 * 60),
        api=_text("TWILIO_API", Twilio.api).rstrip("/"),
    )


def _telegram(public_url: str) -> Telegram | None:
    token, secret_token = _text("TELEGRAM_TOKEN"), _text("TELEGRAM_SECRET_TOKEN")
    if not token and not secret_token:
        return None
    if not token:
        raise SettingError('Telegram is half set: TELEGRAM_TOKEN is missing (docs/operators.md, "Telegram")')
    if not _TELEGRAM_TOKEN.match(token):
        raise SettingError(
            "TELEGRAM_TOKEN is not like the one that @BotFather gives (numbers, a colon, 35 signs); copy it again"
        )
    if public_url and not _TELEGRAM_SECRET.match(secret_token):
        raise SettingError(
            "TELEGRAM_SECRET_TOKEN is missing or not 16 to 256 letters, digits, _ or -: with PUBLIC_URL set Telegram must prove itself"
        )
    return Telegram(token, secret_token, api=_text("TELEGRAM_API", Telegram.api).rstrip("/"))


def _checked(name: str, secret: str) -> str:
    if len(secret) < LEAST_SECRET or len(set(secret)) < 10 or "change" in secret.lower():
        raise SettingError(
            f"{name} is too short or an example; make one of {LEAST_SECRET} signs or more with: openssl rand -base64 48"
        )
    return secret


def _secret() -> str:
    secret = _text("OUTREACH_SECRET")
    return _checked("OUTREACH_SECRET", secret) if secret else ""


def _secrets_before(secret: str) -> tuple[tuple[str, ...], bool]:
    """Former secrets, and whether one of them is lost."""
    name = "OUTREACH_SECRET_BEFORE"
    words = _text(name).replace(",", " ").split()
    if words and not secret:
        raise SettingError(
            f"{name} is set, but OUTREACH_SECRET is missing: opt-outs move from the former to the present one"
        )
    former = tuple(_checked(f"A secret in {name}", word) for word in words if word not in (LOST, secret))
    return former, LOST in words


def _origins() -> tuple[str, ...]:
    origins = tuple(origin.rstrip("/") for origin in os.environ.get("CHAT_ORIGINS", "").split())
    for origin in origins:
        if not _ORIGIN.match(origin):
            raise SettingError(f"CHAT_ORIGINS: {shown(origin)} is no site; write for example https://www.example.org")
    return origins


def _proxies() -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    found = []
    for text in os.environ.get("TRUSTED_PROXIES", "").replace(",", " ").split():
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise SettingError(
                f"TRUSTED_PROXIES: {shown(text)} is no address or network; write for example 10.0.0.0/8"
            ) from None
    return tuple(found)


@functools.lru_cache(maxsize=1)
def settings() -> Settings:
    """Read the environment once; .env in the project's folder fills what is not set.

    Raises:
        SettingError, KnowledgeError: naming the variable or field.
    """
    load_dotenv(ROOT / ".env")
    file = default_path()
    if os.environ.get("OUTREACH_ORGANISATION") and not file.exists():
        raise SettingError(f"OUTREACH_ORGANISATION is {shown(str(file))}, but there is no such file")
    public_url, secret = _public_url(), _secret()
    secrets_before, secret_lost = _secrets_before(secret)
    own = Settings(
        data=Path(os.environ.get("OUTREACH_DATA") or ROOT / "var"),
        retention_hours=_whole_number("RETENTION_HOURS", 24, 1, 168),
        organisation=read_organisation(file),
        context_minutes=_whole_number("CONTEXT_MINUTES", 30, 1, 24 * 60),
        sensitive_minutes=_whole_number("SENSITIVE_MINUTES", 10, 1, 24 * 60),
        host=_text("OUTREACH_HOST", "127.0.0.1"),
        secret=secret,
        secrets_before=secrets_before,
        secret_lost=secret_lost,
        keys=_text("OUTREACH_KEYS") or None,
        public_url=public_url,
        twilio=_twilio(public_url, secret),
        telegram=_telegram(public_url),
        chat_origins=_origins(),
        trusted_proxies=_proxies(),
        redis_url=_text("REDIS_URL"),
    )
    if own.telegram and not secret:
        # Also where Telegram is asked for messages: whoever writes to the bot is not on this machine.
        raise SettingError(
            "TELEGRAM_TOKEN lets others in, but OUTREACH_SECRET is missing. Make one: openssl rand -base64 48"
        )
    if own.local:
        return own
    if not own.organisation.set_up:
        raise SettingError(
            "OUTREACH_HOST or PUBLIC_URL lets others in, but bot/organisation.yml does not say who runs the service; fill it in first"
        )
    if not secret:
        raise SettingError(
            "OUTREACH_SECRET is missing: without it the server answers on localhost only. Make one: openssl rand -base64 48"
        )
    return own
