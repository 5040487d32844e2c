# Stands in for the official image, with Debian's PostgreSQL: the same variables, folder, user, signal.
FROM base/servers
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/postgresql/17/bin \
    LANG=C.UTF-8 PGDATA=/var/lib/postgresql/18/docker
RUN rm -rf /var/lib/postgresql && install -d -o postgres -g postgres /var/lib/postgresql \
    && install -d -o postgres -g postgres -m 3777 /run/postgresql
COPY --chmod=755 <<"EOF" /usr/local/bin/docker-entrypoint.sh
#!/bin/bash
set -euo pipefail
if [[ $(id -u) == 0 ]]; then
    install -d -o postgres -g postgres -m 0700 "$PGDATA"
    exec gosu postgres "$0" "$@"
fi
if [[ ! -s $PGDATA/PG_VERSION ]]; then
    initdb --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") \
        --auth-local=trust --auth-host=scram-sha-256
    echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    # As there, the server that makes the database answers on its socket alone.
    pg_ctl --wait --options="-c listen_addresses=''" start
    createdb --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
    pg_ctl --wait --mode=fast stop
fi
exec "$@"
EOF
VOLUME /var/lib/postgresql
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
