#!/bin/sh
echo "Traceback:" >&2
echo "no credentials" >&2
exit 3
