"""rclone's own help of the options that people are asked for, by which translators find it.

rclone says it in English only. As it stands in rclone, each option's first paragraph; a test tells
which are missing here when rclone changes them.
"""

from __future__ import annotations

from django.utils.translation import gettext_noop

HELPS = (
    gettext_noop("API key or password (OS_PASSWORD)."),
    gettext_noop("AWS Access Key ID."),
    gettext_noop("AWS Secret Access Key (password)."),
    gettext_noop("Account ID or Application Key ID."),
    gettext_noop("Application Key."),
    gettext_noop("Authentication URL for server (OS_AUTH_URL)."),
    gettext_noop("Azure Storage Account Name."),
    gettext_noop("Bearer token instead of user/pass (e.g. a Macaroon)."),
    gettext_noop("Box App Primary Access Token"),
    gettext_noop("Canned ACL used when creating buckets and storing or copying objects."),
    gettext_noop("Choose national cloud region for OneDrive."),
    gettext_noop("Choose your S3 provider."),
    gettext_noop("Choose your storage provider."),
    gettext_noop(
        "Comma separated list of scopes that rclone should use when requesting access from drive."
    ),
    gettext_noop(
        "Disable the execution of SSH commands to determine if remote file hashing is available."
    ),
    gettext_noop("Do not escape URL metacharacters in path names."),
    gettext_noop("Domain name for NTLM authentication."),
    gettext_noop("Enable Object Lock when creating new buckets."),
    gettext_noop("Enable the use of insecure ciphers and key exchange methods."),
    gettext_noop("Endpoint for S3 API."),
    gettext_noop("FTP host to connect to."),
    gettext_noop("FTP password."),
    gettext_noop("FTP port number."),
    gettext_noop("FTP username."),
    gettext_noop("Hadoop name nodes and ports."),
    gettext_noop("Library password (for encrypted libraries only)."),
    gettext_noop("Location constraint - must be set to match the Region."),
    gettext_noop("Name of the WebDAV site/service/software you are using."),
    gettext_noop("Name of the library."),
    gettext_noop("OAuth Access Token as a JSON blob."),
    gettext_noop("OAuth Client Id."),
    gettext_noop("OAuth Client Secret."),
    gettext_noop("Password."),
    gettext_noop("Permanently delete files on remote removal, otherwise hide files."),
    gettext_noop("Pikpak password."),
    gettext_noop("Pikpak username."),
    gettext_noop("Raw PEM-encoded private key."),
    gettext_noop("Region to connect to."),
    gettext_noop("SAS URL for container level access only."),
    gettext_noop("SMB password."),
    gettext_noop("SMB port number."),
    gettext_noop("SMB server hostname to connect to."),
    gettext_noop("SMB username."),
    gettext_noop("SSH host to connect to."),
    gettext_noop("SSH password, leave blank to use ssh-agent."),
    gettext_noop("SSH port number."),
    gettext_noop("SSH username."),
    gettext_noop("Service principal name."),
    gettext_noop("Storage Account Shared Key."),
    gettext_noop("Storage Connection String."),
    gettext_noop("The 2FA code of your MEGA account if the account is set up with one"),
    gettext_noop("The ID of the drive to use."),
    gettext_noop("The Koofr API endpoint to use."),
    gettext_noop("The passphrase to decrypt the PEM-encoded private key file."),
    gettext_noop("The server-side encryption algorithm used when storing this object in S3."),
    gettext_noop("The storage class to use when storing new objects in S3."),
    gettext_noop("The type of the drive (personal | business | documentLibrary)."),
    gettext_noop("Two-factor authentication ('true' if the account has 2FA enabled)."),
    gettext_noop("URL of HTTP host to connect to."),
    gettext_noop("URL of http host to connect to."),
    gettext_noop("URL of seafile host to connect to."),
    gettext_noop("Use Explicit FTPS (FTP over TLS)."),
    gettext_noop("Use Implicit FTPS (FTP over TLS)."),
    gettext_noop("User name (usually email address)."),
    gettext_noop("User name to log in (OS_USERNAME)."),
    gettext_noop("User name."),
    gettext_noop("Your password for rclone (generate one at your service's settings page)."),
    gettext_noop("Your user name."),
)
