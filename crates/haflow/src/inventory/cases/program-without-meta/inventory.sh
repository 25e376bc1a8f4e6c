#!/bin/sh
case "$*" in
--list) echo '{"web": ["a", "b"]}' ;;
"--host a") echo '{"ansible_port": 2222, "x": 1}' ;;
"--host b") echo '{}' ;;
esac
