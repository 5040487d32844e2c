# Stands in for the official image, with Debian's Apache: the same folders, program and signal.
FROM base/servers
WORKDIR /usr/local/apache2
RUN mkdir conf logs && ln -s /usr/lib/apache2/modules modules
COPY --chmod=755 <<"EOF" /usr/local/bin/httpd-foreground
#!/bin/bash
set -euo pipefail
rm -f /usr/local/apache2/logs/httpd.pid
exec apache2 -DFOREGROUND -f /usr/local/apache2/conf/httpd.conf
EOF
STOPSIGNAL SIGWINCH
CMD ["httpd-foreground"]
