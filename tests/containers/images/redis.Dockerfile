# Stands in for the official image, with Debian's Redis: the same folder, user and open port.
FROM base/servers
WORKDIR /data
COPY --chmod=755 <<"EOF" /usr/local/bin/docker-entrypoint.sh
#!/bin/bash
set -euo pipefail
chown redis .
exec gosu redis "$@" --protected-mode no
EOF
VOLUME /data
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["redis-server"]
