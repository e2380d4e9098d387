#!/bin/sh
# The command of the container image: prepare, web, worker [queues], tick, or any management command.
set -eu
role=${1:-web}
case $role in
web) exec python -m gunicorn -c gunicorn.conf.py annotator.wsgi ;;
worker)
    exec python -m celery -A annotator worker --without-gossip --without-mingle -l INFO \
        -Q "${2:-default,http,gpu}" -c "${WORKER_PROCESSES:-2}"
    ;;
*) exec python manage.py "$@" ;;
esac
