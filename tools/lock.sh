#!/usr/bin/env bash
# Write requirements.lock from what .venv holds now. For maintainers, after a deliberate upgrade in .venv.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
{
  echo "# Exact pins of everything the book needs, tests included. Made by tools/lock.sh; installed by make."
  # A CPU build of torch calls itself 2.13.0+cpu, which nobody else could install; triton has Linux wheels only.
  .venv/bin/python -m pip freeze --all --exclude-editable --disable-pip-version-check 2>/dev/null \
    | grep -vE '^(pip|distribute)==' | sed -E 's/\+cpu$//' \
    | sed -E 's/^(triton==[^ ]+)$/\1 ; sys_platform == "linux" and platform_machine == "x86_64"/'
} > requirements.lock.new
mv requirements.lock.new requirements.lock
echo "requirements.lock holds $(grep -c == requirements.lock) pins"
