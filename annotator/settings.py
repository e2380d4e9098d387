"""All settings. Nothing exists only in production; nonsense in the environment is refused at start."""

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def env_str(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(f"{name} is not set. `make run` sets it; elsewhere set it in the environment.")
    return value


def env_bool(name: str, default: bool) -> bool:
    value = os.environ.get(name, "yes" if default else "no").lower()
    if value not in {"yes", "no", "1", "0", "true", "false"}:
        raise ImproperlyConfigured(f"{name}={value!r}: say yes or no.")
    return value in {"yes", "1", "true"}


def env_int(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not value.isdecimal():
        raise ImproperlyConfigured(f"{name}={value!r}: say a whole number.")
    return int(value)


def env_list(name: str, default: str) -> list[str]:
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def env_secret(name: str) -> str:
    """The secret itself, or NAME_FILE, the file that holds it. Short and well-known secrets are refused."""
    path = os.environ.get(f"{name}_FILE")
    value = Path(path).read_text().strip() if path else env_str(name)
    return _strong(name, value)


def env_secrets(name: str) -> list[str]:
    """Secrets with a comma between two, or NAME_FILE, a file with one a line; none when neither is set."""
    path = os.environ.get(f"{name}_FILE")
    values = Path(path).read_text().split() if path else env_list(name, "")
    return [_strong(name, value) for value in values]


def _strong(name: str, value: str) -> str:
    if len(value) < 32 or value.startswith(("django-insecure", "changeme")):
        raise ImproperlyConfigured(f"{name} is too short or a known default: use 32 random characters or more.")
    return value


def env_storage() -> dict[str, Any]:
    """Where uploads, exports and artefacts lie: files (the default), s3, or the dotted path of another storage."""
    name = os.environ.get("STORAGE") or "files"
    if name in ("s3", "storages.backends.s3.S3Storage", "storages.backends.s3boto3.S3Boto3Storage"):
        return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": _s3()}
    if os.environ.get("S3_BUCKET"):
        raise ImproperlyConfigured(f"S3_BUCKET is set but STORAGE={name!r}: say STORAGE=s3, or leave S3_BUCKET out.")
    if name != "files" and not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", name):
        raise ImproperlyConfigured(f"STORAGE={name!r}: say files, s3, or the dotted path of a Django storage.")
    return {"BACKEND": "django.core.files.storage.FileSystemStorage" if name == "files" else name}


def _s3() -> dict[str, Any]:
    """Options of django-storages. Without keys boto3 looks for the machine's own (an instance role, ~/.aws)."""
    bucket, endpoint = env_str("S3_BUCKET", ""), env_str("S3_ENDPOINT", "")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
        raise ImproperlyConfigured(f"S3_BUCKET={bucket!r}: with STORAGE=s3 name the bucket (3 to 63 of a-z 0-9 . -).")
    parts = urlsplit(endpoint)
    if endpoint and (parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username):
        raise ImproperlyConfigured("S3_ENDPOINT: say https://host, without user name, password and query.")
    key, secret = os.environ.get("S3_ACCESS_KEY_ID") or None, _text("S3_SECRET_ACCESS_KEY")
    if bool(key) != bool(secret):
        raise ImproperlyConfigured("S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY: give both, or neither.")
    addressing = env_str("S3_ADDRESSING", "auto")
    if addressing not in ("auto", "path", "virtual"):
        raise ImproperlyConfigured(f"S3_ADDRESSING={addressing!r}: say auto, path or virtual.")
    return {
        "bucket_name": bucket,
        "endpoint_url": endpoint or None,
        "region_name": env_str("S3_REGION", "") or None,
        "access_key": key,
        "secret_key": secret,
        "addressing_style": addressing,
        "location": env_str("S3_PREFIX", "").strip("/"),
        # As files behave: a second one of a name gets another name. Read copies beyond this many bytes lie on the disk.
        "file_overwrite": False,
        "max_memory_size": 8 * 2**20,
        "signature_version": "s3v4",
        "default_acl": None,
    }


def _text(name: str) -> str | None:
    """The variable, or what the file NAME_FILE holds; None for neither."""
    path = os.environ.get(f"{name}_FILE")
    return (Path(path).read_text().strip() if path else os.environ.get(name)) or None


# Everything the site keeps outside the database lies here unless told otherwise.
VAR_DIR = Path(env_str("SWITCHYARD_VAR", str(BASE_DIR / "var")))

DEBUG = env_bool("DEBUG", False)
SECRET_KEY = env_secret("SECRET_KEY")
# They seal the keys of endpoints, the newest first; without them SECRET_KEY does (pipeline/keys.py).
ENCRYPTION_KEYS = env_secrets("ENCRYPTION_KEYS")
ALLOWED_HOSTS = env_list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env_list("CSRF_TRUSTED_ORIGINS", "")
# HTTPS is the default; the embedded stack on localhost says no.
HTTPS = env_bool("HTTPS", True)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.admin",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
    "allauth",
    "allauth.account",
    "annotator",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "annotator.urls"
WSGI_APPLICATION = "annotator.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {"default": dj_database_url.parse(env_str("DATABASE_URL"), conn_health_checks=True)}
if "postgresql" not in DATABASES["default"]["ENGINE"]:
    raise ImproperlyConfigured("DATABASE_URL must be a PostgreSQL address (15 or newer): postgresql://user@host/name")
# One pool a process: an annotator's request must not pay for a new connection.
DATABASES["default"]["CONN_MAX_AGE"] = 0
DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 1, "max_size": env_int("DATABASE_POOL", 8), "timeout": 10}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "annotator.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
ACCOUNT_ADAPTER = "annotator.accounts.ClosedAccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_EMAIL_VERIFICATION = "none"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
EMAIL_BACKEND = env_str("EMAIL_BACKEND", "django.core.mail.backends.console.EmailBackend")

CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache"}}

CELERY_BROKER_URL = env_str("CELERY_BROKER_URL", "filesystem://localhost")
if urlsplit(CELERY_BROKER_URL).scheme == "filesystem":
    # The embedded broker may lose messages; they are only nudges (see docs/decisions/).
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(VAR_DIR / "broker" / "messages"),
        "data_folder_out": str(VAR_DIR / "broker" / "messages"),
        "control_folder": str(VAR_DIR / "broker" / "control"),
        "store_processed": False,
    }
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ROUTES = {
    # What needs a model in memory: work.GPU_TASKS.
    "annotator.pipeline.*.run_model_*": {"queue": "gpu"},
    "annotator.pipeline.label.*": {"queue": "http"},
    "annotator.pipeline.generate.*": {"queue": "http"},
    "annotator.pipeline.tag.*": {"queue": "http"},
    "annotator.pipeline.webhooks.*": {"queue": "http"},
}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# A nudge taken and lost with its worker costs nothing; a nudge kept by a busy process would keep the others idle.
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# The steps that run in workers.
CELERY_IMPORTS = [
    f"annotator.pipeline.{step}"
    for step in (
        "ingest",
        "featurise",
        "label",
        "generate",
        "tag",
        "retrain",
        "route",
        "aggregate",
        "export",
        "fetch",
        "push",
        "changes",
        "webhooks",
        "ledger",
        "check",
        "pairs",
        "measure",
        "backtest",
    )
]

STORAGES = {
    "default": env_storage(),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MEDIA_ROOT = VAR_DIR / "storage"
STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]

LANGUAGE_CODE = "en"
# Complete in locale/, which tests/annotator/test_translation.py watches. Each is named in itself.
LANGUAGES = [("en", "English"), ("ar", "العربيّة")]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = ["annotator.figures"]
USE_TZ = True
TIME_ZONE = "UTC"

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env_bool("BEHIND_PROXY", False) else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 2**20
# The largest file that a browser may send, in bytes; it is written to disk as it arrives (annotator/uploads.py).
UPLOAD_LIMIT = env_int("UPLOAD_LIMIT_MB", 4096) * 10**6

# AI labelers and heavy models are optional: `make run MODELS=no` leaves torch out and pages say so.
MODELS = env_bool("MODELS", True)
# Where models may lie on the machines that run them, ":" between two. Leads name what is below, and nothing else.
MODEL_FOLDERS = [
    Path(part).expanduser().resolve() for part in env_str("MODEL_FOLDERS", str(VAR_DIR / "models")).split(":") if part
]
# Public sets that a token of the workers (HF_TOKEN) may read for any lead although they are private or gated.
PUBLIC_SETS_ALLOWED = env_list("PUBLIC_SETS_ALLOWED", "")

# Judges on this machine or its network. A lead types their addresses, so a site with strangers as leads says no.
LABELER_PRIVATE_ENDPOINTS = env_bool("LABELER_PRIVATE_ENDPOINTS", urlsplit(CELERY_BROKER_URL).scheme == "filesystem")
# Environment variables that hold API keys, each with the one host it may be sent to: "OPENAI_API_KEY@api.openai.com".
# A port other than the usual one is part of the host: "JUDGE_KEY@127.0.0.1:8001".
LABELER_KEYS = dict(entry.partition("@")[::2] for entry in env_list("LABELER_KEYS", ""))
if not all(LABELER_KEYS.values()):
    raise ImproperlyConfigured("LABELER_KEYS: write NAME@host, e.g. OPENAI_API_KEY@api.openai.com, comma between two.")
# Keys that leads enter go over https or stay on this machine. yes: also over http to others, who can then read them.
LABELER_KEYS_UNENCRYPTED = env_bool("LABELER_KEYS_UNENCRYPTED", False)
# Debug pages hide what is sensitive too: they are looked at over somebody's shoulder and pasted into reports.
DEFAULT_EXCEPTION_REPORTER_FILTER = "annotator.discretion.AlwaysDiscreet"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env_str("LOG_LEVEL", "INFO")},
    # A line for every call of a judge would bury everything else; calls are rows of the call ledger.
    "loggers": {"httpx2": {"level": "WARNING"}},
}
