"""A fig.yml of 2014 comes up unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.command import Stack

FIG = """
web:
  build: .
  command: sleep 1000
  links:
    - db
    - db:database
  volumes_from:
    - data
  volumes:
    - code:/code
  environment:
    - RACK_ENV=development
    - SESSION_SECRET
  hostname: web.example.org
  ports:
    - "127.0.0.1::8000"
db:
  image: IMAGE
  command: nc -ll -p 5432 -e cat
  expose:
    - "5432"
  volumes_from:
    - data
data:
  image: IMAGE
  command: "true"
  volumes:
    - /var/lib/shop
helper:
  image: IMAGE
  command: sleep 1000
  net: "container:web"
  stdin_open: true
outside:
  image: IMAGE
  command: sleep 1000
  net: host
  privileged: true
lonely:
  image: IMAGE
  command: sleep 1000
  net: none
  mem_limit: 67108864
  dns: 192.0.2.53
"""


def test_a_fig_file_with_links_volumes_and_networks_of_others(stack: Stack) -> None:
    stack.write("FROM IMAGE\nRUN echo built > /built\n", "Dockerfile")
    stack.write("puts 1\n", "code/app.rb")
    stack.write(FIG, "fig.yml")
    stack.environment["SESSION_SECRET"] = "s3cret"
    try:
        said = stack.up()
        assert "warning" not in said, said
        assert f"{stack.name}_web_1" in stack.ids()
        stack.shell("db", "echo rows > /var/lib/shop/table")
        assert stack.shell("web", "cat /var/lib/shop/table /built /code/app.rb") == "rows\nbuilt\nputs 1"
        assert stack.shell("web", "echo $RACK_ENV $SESSION_SECRET; hostname") == "development s3cret\nweb"
        for name in ("db", "database", "db_1", f"{stack.name}_db_1", "$DB_PORT_5432_TCP_ADDR"):
            ask = f"until echo hello | nc {name} 5432; do sleep 0.05; done"  # it may not listen yet
            assert stack.shell("web", ask) == "hello", name
        assert stack.shell("web", "echo $DATABASE_PORT_5432_TCP_PORT $DB_1_PORT_5432_TCP_PROTO") == "5432 tcp"
        namespace = "readlink /proc/self/ns/net"
        assert stack.shell("helper", namespace) == stack.shell("web", namespace)
        assert stack.shell("outside", namespace) not in ("", stack.shell("web", namespace))
        assert stack.shell("lonely", "ls /sys/class/net; grep nameserver /etc/resolv.conf") == (
            "lo\nnameserver 192.0.2.53"
        )
        before = stack.shell("web", "cat /var/lib/shop/table")
        stack.up("--force-recreate")
        assert stack.shell("web", "cat /var/lib/shop/table") == before  # anonymous volumes survive
    finally:
        stack.run("down", "-v", "-t", "0")
