from django.contrib import admin
from django.urls import include, path

from annotator.views import comparisons, exports, health, imports, jobs, people, plans, projects, settings

urlpatterns = [
    path("", projects.projects, name="projects"),
    path("health", health.health, name="health"),
    path("projects/<int:project_id>/", projects.board, name="board"),
    path("projects/<int:project_id>/comparisons/", comparisons.comparisons, name="comparisons"),
    path("projects/<int:project_id>/comparisons/<int:comparison_id>/", comparisons.comparison, name="comparison"),
    path("projects/<int:project_id>/flags/<int:flag_id>/resolve", comparisons.flag_resolve, name="flag_resolve"),
    path("projects/<int:project_id>/plans/", plans.plans, name="plans"),
    path("projects/<int:project_id>/plans/train", plans.train, name="train"),
    path("projects/<int:project_id>/plans/<int:number>/", plans.plan, name="plan"),
    path("projects/<int:project_id>/plans/<int:number>/approve", plans.plan_approve, name="plan_approve"),
    path("projects/<int:project_id>/people/", people.people, name="people"),
    path("projects/<int:project_id>/people/add", people.member_add, name="member_add"),
    path("projects/<int:project_id>/people/invite", people.member_invite, name="member_invite"),
    path("projects/<int:project_id>/people/<int:membership_id>/role", people.member_role, name="member_role"),
    path("projects/<int:project_id>/people/<int:membership_id>/link", people.member_link, name="member_link"),
    path("projects/<int:project_id>/people/<int:membership_id>/remove", people.member_remove, name="member_remove"),
    path("projects/<int:project_id>/jobs/<int:job_id>/", jobs.job, name="job"),
    path("projects/<int:project_id>/jobs/<int:job_id>/progress", jobs.job_progress, name="job_progress"),
    path("projects/<int:project_id>/jobs/<int:job_id>/cancel", jobs.job_cancel, name="job_cancel"),
    path("projects/<int:project_id>/settings/", settings.project_settings, name="project_settings"),
    path("projects/<int:project_id>/settings/general", settings.settings_general, name="settings_general"),
    path("projects/<int:project_id>/settings/work", settings.settings_work, name="settings_work"),
    path("projects/<int:project_id>/settings/cap", settings.settings_cap, name="settings_cap"),
    path("projects/<int:project_id>/settings/protocol", settings.settings_protocol, name="settings_protocol"),
    path("projects/<int:project_id>/settings/status", settings.settings_status, name="settings_status"),
    path("projects/new", imports.new_project, name="new_project"),
    path("projects/<int:project_id>/import/", imports.import_upload, name="import_upload"),
    path("projects/<int:project_id>/import/<str:upload>", imports.import_preview, name="import_preview"),
    path("projects/<int:project_id>/exports/", exports.exports, name="exports"),
    path("projects/<int:project_id>/exports/<int:number>/download/", exports.export_download, name="export_download"),
    path(
        "projects/<int:project_id>/exports/<int:number>/download/<path:name>",
        exports.export_download,
        name="export_download",
    ),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
]
