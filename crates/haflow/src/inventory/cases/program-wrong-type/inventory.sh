#!/bin/sh
echo '{"rabbit": {"hosts": "rabbit1"}}'
