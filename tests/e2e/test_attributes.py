"""What a key of the file does inside the container, key by key: nothing is accepted and then ignored.

One stack has a service for each row; what its command prints is compared. `model/support.py` names the keys
that nothing acts on, and those are warned about; what builds, health checks, networks and volumes do over
time has tests of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.attribute_rows import STATUS, Row, services, wrong

if TYPE_CHECKING:
    from tests.support.command import Stack


LIMIT = "cat /sys/fs/cgroup/{} 2>/dev/null || cat /sys/fs/cgroup/{}"
MOUNTED = "grep ' {} ' /proc/mounts | cut -d ' ' -f 3,4 | tr ',' '\\n' | grep -E '{}' | tr '\\n' ' '"

ROWS = [
    Row("command", "command: [echo, 'a  b', '$$HOME']", "", "a  b $HOME"),
    Row("command in one string", "command: echo 'a  b' c", "", "a  b c"),
    Row("entrypoint", "entrypoint: [echo, begin], command: [end]", "", "begin end"),
    Row("entrypoint without the image's command", "entrypoint: [echo, begin]", "", "begin"),
    Row("entrypoint in one string", "entrypoint: echo 'a  b', command: c d", "", "a  b c d"),
    Row("command null", "command: null, entrypoint: [echo, begin], stdin_open: false", "", "begin"),
    Row(
        "environment",
        "environment: {A: '1', B: 'x y=z', C: \"two\\nlines\"}",
        'echo "$A-$B-$C"',
        "1-x y=z-two\nlines",
    ),
    Row(
        "environment over the image's",
        "environment: {PATH: '/bin:/x'}",
        "env | grep -c ^PATH=; echo $PATH",
        "1\n/bin:/x",
    ),
    Row("env_file", "env_file: [one.env]", "echo $FROM_FILE", "yes"),
    Row("working_dir", "working_dir: /made/by/us", "pwd", "/made/by/us"),
    Row("user", "user: '1000:2000'", "id -u; id -g; id -G", "1000\n2000\n2000"),
    Row("user by name", "user: app", "id -un; id -G", "app\n1000 2000"),
    Row("group_add", "user: app, group_add: ['3000', nogroup]", "id -G", "1000 2000 3000 65534"),
    Row(
        "hostname", "hostname: name", "hostname; cat /etc/hostname; grep -c name /etc/hosts", "name\nname\n1"
    ),
    Row(
        "domainname",
        "hostname: name, domainname: example.org",
        "grep -o 'name.*' /etc/hosts",
        "name.example.org name",
    ),
    Row(
        "hostname with its domain",
        "hostname: name.example.org",
        "grep -o 'name.*' /etc/hosts",
        "name.example.org name",
    ),
    Row("extra_hosts", "extra_hosts: ['db=192.0.2.7']", "grep -w db /etc/hosts", "192.0.2.7\tdb"),
    Row(
        "dns_search and dns_opt",
        "dns_search: [example.org], dns_opt: ['timeout:3']",
        "grep -v names /etc/resolv.conf",
        "search example.org\noptions timeout:3 ndots:0",
    ),
    Row(
        "dns without networks",
        "network_mode: none, dns: [192.0.2.53]",
        "grep names /etc/resolv.conf",
        "nameserver 192.0.2.53",
    ),
    Row("network_mode", "network_mode: none", "ls /sys/class/net", "lo"),
    Row(
        "mac_address",
        "mac_address: '02:00:00:00:00:42'",
        "cat /sys/class/net/eth0/address",
        "02:00:00:00:00:42",
    ),
    Row(
        "networks.mac_address",
        "networks: {default: {mac_address: '02-00-00-00-00-43'}}",
        "cat /sys/class/net/eth0/address",
        "02:00:00:00:00:43",
    ),
    Row(
        "links",
        "links: ['command-1:other'], depends_on: [command-1]",
        "nslookup other >/dev/null && echo found",
        "found",
    ),
    Row(
        "networks.aliases",
        "networks: {default: {aliases: [also]}}",
        "nslookup also >/dev/null && echo found",
        "found",
    ),
    Row(
        "what Docker adds to an image",
        "read_only: true",
        "readlink /etc/mtab; stat -c '%a %s' /.dockerenv; grep -c ' /proc ' /etc/mtab",
        "/proc/mounts\n755 0\n1",
    ),
    Row("read_only", "read_only: true", "touch /x 2>&1 | grep -o 'Read-only.*'", "Read-only file system"),
    Row(
        "read_only files of ours",
        "read_only: true",
        "for f in hosts hostname resolv.conf; do (echo >> /etc/$f) 2>/dev/null || echo $f; done",
        "hosts\nhostname\nresolv.conf",
    ),
    Row(
        "tmpfs",
        "tmpfs: ['/t:size=1m,mode=700']",
        MOUNTED.format("/t", "tmpfs|size|mode|nosuid|noexec"),
        "tmpfs rw nosuid noexec size=1024k mode=700 ",
    ),
    Row(
        "volumes.tmpfs",
        "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 2m, mode: 448}}]",
        MOUNTED.format("/t", "size|mode"),
        "size=2048k mode=700 ",
    ),
    Row(
        "volumes read-only",
        "volumes: ['./given:/g:ro']",
        "cat /g/file; touch /g/x 2>&1 | grep -o 'Read-only.*'",
        "given\nRead-only file system",
    ),
    Row(
        "volumes below volumes",
        "volumes: ['./given/file:/v/inner/file:ro', 'data:/v']",
        "cat /v/inner/file; touch /v/x && echo ok",
        "given\nok",
    ),
    Row(
        "configs.content",
        "configs: [{source: inline, target: /c, mode: 0440, uid: '5', gid: '6'}]",
        "cat /c; stat -c ' %a %u %g' /c",
        "hello 440 5 6",
    ),
    Row("configs.file", "configs: [filed]", "cat /filed", "given"),
    Row(
        "secrets",
        "secrets: [token, {source: filed, target: other}]",
        "cd /run/secrets; cat token; echo; cat other",
        "t0ken\ngiven",
    ),
    Row("shm_size", "shm_size: 1m", "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2", "1024"),
    Row(
        "ulimits",
        "ulimits: {nofile: {soft: 77, hard: 88}, nproc: 99}",
        "ulimit -Sn; ulimit -Hn; grep processes /proc/self/limits | tr -s ' ' | cut -d ' ' -f 3,4",
        "77\n88\n99 99",
    ),
    Row("oom_score_adj", "oom_score_adj: 321", "cat /proc/self/oom_score_adj", "321"),
    Row(
        "sysctls",
        "sysctls: {net.core.somaxconn: 77, kernel.shmmni: 55}",
        "cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmni",
        "77\n55",
    ),
    Row("sysctls as paths", "sysctls: {net/core/somaxconn: 78}", "cat /proc/sys/net/core/somaxconn", "78"),
    Row(
        "mem_limit as a user sees it",
        "mem_limit: 32m, user: app",
        LIMIT.format("memory.max", "memory/memory.limit_in_bytes"),
        "33554432",
    ),
    Row(
        "mem_limit", "mem_limit: 32m", LIMIT.format("memory.max", "memory/memory.limit_in_bytes"), "33554432"
    ),
    Row("pids_limit", "pids_limit: 33", LIMIT.format("pids.max", "pids/pids.max"), "33"),
    Row("pids_limit without limit", "pids_limit: -1", LIMIT.format("pids.max", "pids/pids.max"), "max"),
    Row(
        "cpus",
        "cpus: 0.5",
        f"({LIMIT}) | cut -d ' ' -f 1".format("cpu.max", "cpu/cpu.cfs_quota_us"),
        "50000",
    ),
    Row("cpuset", "cpuset: '0'", STATUS.format("Cpus_allowed_list"), "Cpus_allowed_list: 0"),
    Row(
        "deploy.resources",
        "deploy: {resources: {limits: {memory: 48m, cpus: '0.25', pids: 44}}}",
        LIMIT.format("memory.max", "memory/memory.limit_in_bytes")
        + ";"
        + LIMIT.format("pids.max", "pids/pids.max"),
        "50331648\n44",
    ),
    Row("cap_drop", "cap_drop: [ALL]", STATUS.format("CapBnd"), "CapBnd: 0000000000000000"),
    Row(
        "cap_add",
        "cap_drop: [ALL], cap_add: [NET_ADMIN]",
        STATUS.format("CapEff"),
        "CapEff: 0000000000001000",
    ),
    Row("privileged", "privileged: true", STATUS.format("Seccomp"), "Seccomp: 0"),
    Row(
        "no-new-privileges",
        "security_opt: ['no-new-privileges:true']",
        STATUS.format("NoNewPrivs"),
        "NoNewPrivs: 1",
    ),
    Row("seccomp", "security_opt: ['seccomp=unconfined']", STATUS.format("Seccomp"), "Seccomp: 0"),
    Row("seccomp by default", "labels: {}", STATUS.format("Seccomp"), "Seccomp: 2"),
    Row("tty", "tty: true", "test -t 0 && test -t 1 && echo it is", "it is"),
    Row("stdin_open", "stdin_open: true", "test -p /dev/stdin && echo open", "open"),
    Row("stdin closed", "stdin_open: false", "cat; echo end", "end"),
]

TOP = """
volumes: {data: {}}
configs:
  inline: {content: hello}
  filed: {file: given/file}
secrets:
  token: {environment: TOKEN}
  filed: {file: given/file}
services:
"""


def test_every_key_has_its_effect(stack: Stack) -> None:
    stack.write("given\n", "given/file")
    stack.write("FROM_FILE=yes\n", "one.env")
    stack.environment["TOKEN"] = "t0ken"
    stack.write(TOP + services(ROWS))
    said = stack.up()
    assert "warning" not in said
    assert wrong(stack, ROWS) == {}
