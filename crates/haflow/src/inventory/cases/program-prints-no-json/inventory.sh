#!/bin/sh
echo "Loading inventory"
echo "{}"
