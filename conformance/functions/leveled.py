"""Logs at several levels."""

import logging


def handler(event, context):
    log = logging.getLogger()
    log.info("of use")
    log.warning("of note")
