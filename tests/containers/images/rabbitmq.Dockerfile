# Stands in for the official image, with Debian's RabbitMQ: the same variables, folder and user.
FROM base/servers
ENV PATH=/usr/local/bin:/usr/lib/rabbitmq/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/var/lib/rabbitmq LANG=C.UTF-8 RABBITMQ_LOGS=-
RUN rm -rf /var/lib/rabbitmq && install -d -o rabbitmq -g rabbitmq /var/lib/rabbitmq \
    && ln -s /var/lib/rabbitmq/.erlang.cookie /root/.erlang.cookie
COPY --chmod=755 <<"EOF" /usr/local/bin/docker-entrypoint.sh
#!/bin/bash
set -euo pipefail
chown --recursive rabbitmq: /var/lib/rabbitmq
exec gosu rabbitmq "$@"
EOF
VOLUME /var/lib/rabbitmq
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["rabbitmq-server"]
