from django.contrib import admin
from django.urls import include, path

from annotator.views import health, projects

urlpatterns = [
    path("", projects.projects, name="projects"),
    path("health", health.health, name="health"),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
]
