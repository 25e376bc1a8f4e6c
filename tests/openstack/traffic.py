"""Both ends of a conversation through oslo.messaging, with a service's own file: tests/it/stdlib/openstack.rs.

    traffic.py consume FILE TOPIC LOG    answers calls, takes notifications, and logs each
    traffic.py publish FILE TOPIC LOG    calls and notifies with numbers that count up, and logs what was confirmed

A line of a log is: when, what, which number. What was confirmed is a call that returned the right answer, and a notification whose
`notify` returned without having logged an error: the broker has it then, since oslo.messaging publishes with confirms.
"""

import logging
import sys
import threading
import time

import oslo_messaging
from oslo_config import cfg

role, path, topic, log = sys.argv[1:]
conf = cfg.CONF
conf(["--config-file", path], project=topic)
# Line by line: what is in the log when this dies is what there was.
log = open(log, "a", buffering=1)


def tell(what, number):
    log.write(f"{time.time():.3f} {what} {number}\n")


class Answers:
    def double(self, context, number):
        tell("answered", number)
        return 2 * number


class Notifications:
    def info(self, context, publisher, event, payload, metadata):
        tell("got", payload["number"])


def consume():
    rpc = oslo_messaging.get_rpc_transport(conf)
    target = oslo_messaging.Target(topic=topic, server="consumer")
    oslo_messaging.get_rpc_server(rpc, target, [Answers()], executor="threading").start()
    transport = oslo_messaging.get_notification_transport(conf)
    listener = oslo_messaging.get_notification_listener(
        transport, [oslo_messaging.Target(topic=f"{topic}_events")], [Notifications()], executor="threading")
    listener.start()
    tell("ready", 0)
    threading.Event().wait()


def call():
    target = oslo_messaging.Target(topic=topic)
    transport = oslo_messaging.get_rpc_transport(conf)
    # `RPCClient` itself is said to be private since 14.1.
    make = getattr(oslo_messaging, "get_rpc_client", oslo_messaging.RPCClient)
    client = make(transport, target).prepare(timeout=20)
    for number in forever():
        try:
            tell("right" if client.call({}, "double", number=number) == 2 * number else "wrong", number)
        except oslo_messaging.MessagingTimeout:
            tell("timeout", number)
        except Exception as error:
            tell(type(error).__name__, number)


class Errors(logging.Handler):
    """Counts what `notify` keeps to itself."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.count = 0

    def emit(self, record):
        self.count += 1


def notify():
    errors = Errors()
    logging.getLogger("oslo_messaging.notify.messaging").addHandler(errors)
    # `retry` is the file's.
    notifier = oslo_messaging.Notifier(
        oslo_messaging.get_notification_transport(conf), "tests.openstack", driver="messagingv2", topics=[f"{topic}_events"])
    for number in forever():
        try:
            before = errors.count
            notifier.info({}, "count", {"number": number})
            tell("sent" if errors.count == before else "unsent", number)
        except Exception as error:
            tell(type(error).__name__, number)


def forever():
    number = 0
    while True:
        number += 1
        yield number
        time.sleep(0.1)


if role == "consume":
    consume()
else:
    for run in call, notify:
        threading.Thread(target=run).start()
