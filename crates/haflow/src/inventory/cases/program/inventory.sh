#!/bin/sh
# Called with --list only: everything is in `_meta`.
test "$*" = --list || exit 1
echo 'a warning' >&2
cat <<END
{
  "_meta": {"hostvars": {
    "rabbit1": {"ansible_host": "10.0.0.1", "tags": {"k": "v"}},
    "spare": {"ansible_port": 2222}
  }},
  "all": {"children": ["ungrouped", "rabbit", "gone"], "vars": {"region": "eu"}},
  "rabbit": {"hosts": ["rabbit1", "rabbit2"], "vars": {"region": "us"}},
  "plain": ["rabbit2", "rabbit2"]
}
END
