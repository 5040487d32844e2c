"""All URLs: the admin, the REST API and its documentation."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import (
    SpectacularRedocView,
    SpectacularSwaggerSplitView,
)

from filesync.api.schema import SchemaView

handler400 = "project.error_pages.bad_request"
handler403 = "project.error_pages.not_permitted"
handler404 = "project.error_pages.not_found"
handler500 = "project.error_pages.server_error"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api-auth/login/", LoginView.as_view(template_name="project/login.html")),
    path("api-auth/", include("rest_framework.urls")),
    path("api/v1/", include("filesync.api.urls")),
    path("api/schema", SchemaView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="swagger"),
    path(
        "api/redoc",
        SpectacularRedocView.as_view(url_name="schema", template_name="project/redoc.html"),
        name="redoc",
    ),
    path("i18n/", include("django.conf.urls.i18n")),
]
