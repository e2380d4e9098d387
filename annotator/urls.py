from django.contrib import admin
from django.urls import include, path

from annotator.views import health, imports, projects

urlpatterns = [
    path("", projects.projects, name="projects"),
    path("health", health.health, name="health"),
    path("projects/new", imports.new_project, name="new_project"),
    path("projects/<int:project_id>/import/", imports.import_upload, name="import_upload"),
    path("projects/<int:project_id>/import/<str:upload>", imports.import_preview, name="import_preview"),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
]
