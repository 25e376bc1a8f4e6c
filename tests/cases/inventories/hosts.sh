#!/bin/sh
echo '{"web": {"hosts": ["web1", "web2"], "vars": {"region": "eu"}}, "_meta": {"hostvars": {}}}'
