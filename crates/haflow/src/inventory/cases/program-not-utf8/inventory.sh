#!/bin/sh
printf '{"a": ["\374"]}'
