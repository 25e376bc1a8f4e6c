#!/bin/sh
echo connecting >&2
sleep 30
