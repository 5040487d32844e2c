"""Django's settings, each read once from the environment; the table in README.md lists them.

With nothing configured they describe one machine: SQLite, a private Redis, keys in the data
folder. No logic belongs here: readers are in `project.env`, generated keys in `project.embedded`.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path

from cryptography.fernet import Fernet
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from project import embedded, env, logs
from project.addresses import base_url

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env.folder("SYNCBEAT_DATA_DIR", BASE_DIR / "data")

try:
    SECRET_KEY = env.text("SYNCBEAT_SECRET_KEY") or embedded.key_from_file(
        DATA_DIR / "keys" / "django.key", lambda: secrets.token_urlsafe(48)
    )
    FILESYNC_SECRET_KEYS = env.secret_keys("FILESYNC_SECRET_KEYS") or [
        embedded.key_from_file(
            DATA_DIR / "keys" / "filesync.key", lambda: Fernet.generate_key().decode()
        )
    ]
except OSError as error:
    raise env.SettingError(
        f"the data folder {DATA_DIR} cannot be written ({error.strerror}); "
        "make it writable or set SYNCBEAT_DATA_DIR to a folder that is"
    ) from None

DEBUG = env.flag("SYNCBEAT_DEBUG", default=False)
ALLOWED_HOSTS = env.words("SYNCBEAT_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.words("SYNCBEAT_CSRF_TRUSTED_ORIGINS")
PUBLIC_HTTPS = env.flag("SYNCBEAT_HTTPS", default=False)

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "django_celery_results",
    "scheduler.apps.SchedulerConfig",
    "filesync.apps.FilesyncConfig",
    "project.apps.ProjectConfig",
]
MIDDLEWARE = [
    "project.middleware.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "project.middleware.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "project.limits.BodyLimitMiddleware",
    "project.limits.SignInLimitMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
WSGI_APPLICATION = "project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # Before those of the apps: what stands here takes the place of the theme's.
        "DIRS": [BASE_DIR / "project" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": env.database("DATABASE_URL", sqlite_path=DATA_DIR / "syncbeat.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
# One catalogue for everything on the pages, those of the packages included: it comes first.
LOCALE_PATHS = [BASE_DIR / "project" / "locale"]
TIME_ZONE = env.timezone("SYNCBEAT_TIME_ZONE", env.system_timezone())
USE_TZ = True

STATIC_URL = "static/"
# Found before what the apps bring: an Alpine that needs no eval takes the place of unfold's own.
STATICFILES_DIRS = [BASE_DIR / "project" / "static"]
# Served from the installed packages: no collectstatic stands between a checkout and a start.
WHITENOISE_USE_FINDERS = True

# --- the web server's edge
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "project.error_pages.form_refused"
if PUBLIC_HTTPS:
    SECURE_SSL_REDIRECT = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True

# --- celery (project.celery reads every CELERY_ name)
CELERY_BROKER_URL = env.broker_url("CELERY_BROKER", embedded=embedded.broker_url(DATA_DIR))
CELERY_BEAT_SCHEDULE = env.beat_schedule("CELERY_SCHEDULE")
CELERY_BEAT_SCHEDULER = "scheduler.beat:CronDatabaseScheduler"
CELERY_TIMEZONE = TIME_ZONE
CELERY_RESULT_BACKEND = "filesync.result_backend:RunResultBackend"
CELERY_RESULT_EXTENDED = False
# Results live as long as their runs; filesync.services.retention deletes both.
CELERY_RESULT_EXPIRES = None
CELERY_TASK_TRACK_STARTED = False
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = False
CELERY_WORKER_POOL = "filesync.prefork:StoppingPool"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_DISABLE_PREFETCH = CELERY_BROKER_URL.startswith("redis")
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_WORKER_CONCURRENCY = env.number("SYNCBEAT_WORKER_CONCURRENCY", 4, minimum=1, maximum=256)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_TASK_PUBLISH_RETRY_POLICY = {
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.2,
    "interval_max": 0.2,
}
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = {}
if CELERY_BROKER_URL.startswith("redis"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "socket_connect_timeout": 2,
        "socket_timeout": 10,
        "socket_keepalive": not CELERY_BROKER_URL.startswith("redis+socket"),
        "health_check_interval": 10,
    }
elif CELERY_BROKER_URL.startswith("filesystem"):
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(DATA_DIR / "broker"),
        "data_folder_out": str(DATA_DIR / "broker"),
        "control_folder": str(DATA_DIR / "broker-control"),
    }

# Counts of what is allowed only so often; each web process counts for itself.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}

# --- the REST API
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
# No form takes files: none is written to the disk for whoever sends one.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "filesync.api.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["filesync.api.permissions.ModelPermissions"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "project.pages.PageRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": [
        "filesync.api.parsing.StrictJSONParser",
        # The HTML forms of the browsable pages.
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_FILTER_BACKENDS": [
        "filesync.api.parsing.KnownParameters",
        "django_filters.rest_framework.DjangoFilterBackend",
        "filesync.api.parsing.KnownSearch",
        "filesync.api.parsing.KnownOrdering",
    ],
    "DEFAULT_PAGINATION_CLASS": "filesync.api.pagination.NumberedPages",
    "NUM_PROXIES": 1 if PUBLIC_HTTPS else 0,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "project.exceptions.handle",
    "VIEW_NAME_FUNCTION": "project.page_words.page_name",
    "VIEW_DESCRIPTION_FUNCTION": "project.page_words.page_description",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Syncbeat",
    "DESCRIPTION": "Keeps folders in step: schedules, runs and their outcomes.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    # Bodies are described apart from answers: read-only fields are no part of a write.
    "COMPONENT_SPLIT_REQUEST": True,
    "PARSER_WHITELIST": ["filesync.api.parsing.StrictJSONParser"],
    "ENUM_NAME_OVERRIDES": {
        "EventsEnum": "filesync.notifications.events.Event",
        "SyncRunStateEnum": "filesync.models.run.SyncRun.State",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "filesync.api.schema.complete",
    ],
}

# --- filesync
FILESYNC_LOCAL_ROOTS = env.folders("FILESYNC_LOCAL_ROOTS", DATA_DIR / "files")
FILESYNC_RCLONE_BINARY = env.text("RCLONE_BINARY")
FILESYNC_WORK_DIR = DATA_DIR / "work"
FILESYNC_LOG_DIR = DATA_DIR / "logs"
FILESYNC_KEEP_RUNS_DAYS = env.number("SYNCBEAT_KEEP_RUNS_DAYS", 90, minimum=1, maximum=36_500)
FILESYNC_KEEP_RUNS_PER_CONFIG = env.number(
    "SYNCBEAT_KEEP_RUNS_PER_CONFIG", 1_000, minimum=1, maximum=10_000_000
)
FILESYNC_TOKEN_LIFETIME = timedelta(
    days=env.number("SYNCBEAT_TOKEN_DAYS", 365, minimum=1, maximum=36_500)
)
FILESYNC_SIGN_INS_PER_MINUTE = env.number(
    "SYNCBEAT_SIGN_INS_PER_MINUTE", 10, minimum=1, maximum=1_000_000
)
FILESYNC_EXECUTES_PER_MINUTE = env.number(
    "SYNCBEAT_EXECUTES_PER_MINUTE", 600, minimum=1, maximum=1_000_000
)

# --- the web server (project.web_server)
WEB_BIND = env.text("SYNCBEAT_BIND", "127.0.0.1")
WEB_PORT = env.number("SYNCBEAT_PORT", 8000, minimum=1, maximum=65_535)
WEB_THREADS = env.number("SYNCBEAT_WEB_THREADS", 8, minimum=1, maximum=256)
# A process uses one core. SQLite is for a small machine, and takes one writer at a time anyway.
_WEB_WORKERS = 2 if "postgresql" in str(DATABASES["default"]["ENGINE"]) else 1
WEB_WORKERS = env.number("SYNCBEAT_WEB_WORKERS", _WEB_WORKERS, minimum=1, maximum=64)

# --- what people are told
NOTIFY_NETWORKS = env.networks("SYNCBEAT_NOTIFY_NETWORKS")
PUBLIC_URL = env.web_address("SYNCBEAT_PUBLIC_URL", base_url(WEB_BIND, WEB_PORT))

# --- who may read /metrics; nobody while neither is set
METRICS_TOKEN = env.text("SYNCBEAT_METRICS_TOKEN")
METRICS_NETWORKS = env.networks("SYNCBEAT_METRICS_NETWORKS")

LOG_LEVEL = env.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error")).upper()
LOG_FORMAT = env.choice("LOG_FORMAT", "line", ("line", "json"))
LOGGING = logs.logging_settings(LOG_LEVEL, LOG_FORMAT)

UNFOLD = {
    "SITE_TITLE": "Syncbeat",
    "SITE_HEADER": "Syncbeat",
    "SITE_SUBHEADER": _("Keeps folders in step"),
    "SITE_SYMBOL": "sync",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_LANGUAGES": True,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda request: static("filesync/favicon.svg"),
        }
    ],
    "STYLES": [lambda request: static("filesync/admin.css")],
    "SCRIPTS": [
        lambda request: static("filesync/alpine.js"),
        lambda request: static("filesync/keyboard.js"),
        lambda request: static("filesync/admin.js"),
    ],
    # In admin.css instead: as settings they become an inline style, which the policy forbids.
    "COLORS": lambda request: {},
    "DASHBOARD_CALLBACK": "filesync.admin.dashboard.add_dashboard",
    "SIDEBAR": {"show_search": True, "navigation": "filesync.admin.navigation.sidebar"},
    "TABS": "filesync.admin.navigation.tabs",
}
