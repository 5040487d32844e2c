"""The roles: groups viewer, operator and editor, made of Django's permissions.

Whoever runs the system may change or delete them: they are made once, here, and never again.
"""

from django.apps import apps as django_apps
from django.apps.registry import Apps
from django.contrib.auth.management import create_permissions
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

# A person of any role makes and revokes tokens of their own.
VIEWER = (
    "view_storage",
    "view_syncconfig",
    "view_syncrun",
    "view_runitem",
    "view_notificationchannel",
    "view_delivery",
    "view_ruleset",
    "view_rulesetuse",
    "view_apitoken",
    "add_apitoken",
    "delete_apitoken",
)
OPERATOR = (*VIEWER, "run_syncconfig")
EDITED = ("syncconfig", "ruleset", "rulesetuse")
EDITOR = (
    *OPERATOR,
    *(f"{act}_{model}" for act in ("add", "change", "delete") for model in EDITED),
)
ROLES = {"viewer": VIEWER, "operator": OPERATOR, "editor": EDITOR}


def make_roles(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    database = schema_editor.connection.alias
    # Django makes the permissions only after all migrations, and later finds these made.
    app = django_apps.get_app_config("filesync")
    create_permissions(app, verbosity=0, using=database, apps=apps)

    Group = apps.get_model("auth", "Group")
    Permission = apps.get_model("auth", "Permission")
    for name, codenames in ROLES.items():
        group, made = Group.objects.using(database).get_or_create(name=name)
        if made:
            ours = Permission.objects.using(database).filter(content_type__app_label="filesync")
            group.permissions.set(ours.filter(codename__in=codenames))


def remove_roles(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    Group = apps.get_model("auth", "Group")
    Group.objects.using(schema_editor.connection.alias).filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("filesync", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_roles, remove_roles)]
