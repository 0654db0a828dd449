"""Plans as text: what start, restart, kill, pause and rm decide, without input or output."""

from __future__ import annotations

import pytest

from compose.errors import PlanError
from compose.plan.life import plan_kill, plan_pause, plan_restart, plan_start, plan_unpause
from compose.plan.observed import Observed, ObservedNetwork
from compose.plan.reconcile import UpOptions, plan_up
from compose.plan.teardown import plan_remove, plan_stop
from tests.unit.test_plan_reconcile import lines, observed, running, target, text, wanted

HEALTHY = {"condition": "service_healthy"}
SHOP = target(
    wanted("db"),
    wanted("cache"),
    wanted("web", depends_on={"db": {**HEALTHY, "restart": True}, "cache": {"condition": "service_started"}}),
)
DEPENDENCIES = {service.name: service.dependencies for service in SHOP.services}


def all_of(status: str) -> Observed:
    return observed(*(running(service.name, status=status) for service in SHOP.services))


def test_start_waits_for_what_a_service_depends_on() -> None:
    assert text(plan_start(SHOP, all_of("exited"))) == lines("""
        1. start container shop-db-1  (it is exited)
        2. start container shop-cache-1  (it is exited)
        3. wait for health of shop-db-1  after 1
        4. start container shop-web-1  (it is exited)  after 2, 3
    """)


def test_start_waits_only_for_containers_that_are_there() -> None:
    two = target(wanted("web", scale=3))
    there = observed(running("web", 2, status="exited"))
    assert text(plan_start(two, there, wait=True)) == lines("""
        1. start container shop-web-2  (it is exited)
        2. wait for health of shop-web-2  after 1
    """)


def test_start_leaves_what_runs_alone_and_creates_nothing() -> None:
    assert not plan_start(SHOP, all_of("running"))
    with pytest.raises(PlanError, match="service db has no container to start"):
        plan_start(SHOP, Observed())
    assert not plan_start(target(wanted("web", scale=0)), Observed())


def test_what_only_up_can_repair_is_not_started() -> None:
    with pytest.raises(PlanError, match="shop-web-1"):
        plan_start(target(wanted("web")), observed(running("web", status="exited", whole=False)))


def test_start_makes_again_what_a_restart_of_the_machine_took() -> None:
    there = observed(
        running("web", status="exited", connected=False, networks=frozenset({"shop_default"})),
        networks=(ObservedNetwork("default", "shop_default", "net-1", whole=False),),
    )
    assert text(plan_start(target(wanted("web")), there)) == lines("""
        1. create network shop_default  (only its record is there)
        2. reconnect container shop-web-1  (its network is gone)  after 1
        3. start container shop-web-1  (it is exited)  after 2
    """)


def test_restart_takes_dependents_along_that_ask_for_it() -> None:
    assert text(plan_restart(SHOP, all_of("running"), ["db"])) == lines("""
        1. restart container shop-db-1
        2. wait for health of shop-db-1  after 1
        3. restart container shop-web-1  (db is restarted)  after 2
    """)
    assert text(plan_restart(SHOP, all_of("running"), ["cache"])) == "1. restart container shop-cache-1"
    assert text(plan_restart(SHOP, all_of("running"), ["db"], alone=True)) == "1. restart container shop-db-1"


def test_restart_of_everything_starts_what_has_exited() -> None:
    assert text(plan_restart(SHOP, all_of("exited"), timeout=1.0)) == lines("""
        1. restart container shop-db-1
        2. restart container shop-cache-1
        3. wait for health of shop-db-1  after 1
        4. restart container shop-web-1  after 3
    """)


def test_stop_goes_backwards_and_leaves_one_off_containers_alone() -> None:
    there = all_of("running")
    there = there._replace(containers=(*there.containers, running("web", 1, name="mine", oneoff=True)))
    assert text(plan_stop(there, (), DEPENDENCIES, None)) == lines("""
        1. stop container shop-web-1
        2. stop container shop-db-1  after 1
        3. stop container shop-cache-1  after 1
    """)
    assert "mine" in text(plan_kill(there, ["web"], "SIGKILL"))
    assert "mine" not in text(plan_remove(there, ["web"], {}, stop=True))


def test_kill_and_pause_concern_what_runs() -> None:
    there = observed(running("web"), running("db", status="exited"), running("cache", status="paused"))
    assert text(plan_kill(there, (), "SIGHUP")) == lines("""
        1. kill container shop-web-1  (SIGHUP)
        2. kill container shop-cache-1  (SIGHUP)
    """)
    assert text(plan_pause(there, ["web", "db"])) == "1. pause container shop-web-1"
    assert text(plan_unpause(there, ["cache", "db"])) == "1. unpause container shop-cache-1"


def test_rm_removes_what_does_not_run_and_stops_the_rest_on_request() -> None:
    there = observed(running("web"), running("db", status="exited"))
    assert text(plan_remove(there, (), DEPENDENCIES)) == "1. remove container shop-db-1"
    assert text(plan_remove(there, (), DEPENDENCIES, stop=True)) == lines("""
        1. stop container shop-web-1
        2. remove container shop-web-1  after 1
        3. remove container shop-db-1
    """)


def test_orphans_are_of_services_that_the_file_does_not_know() -> None:
    there = observed(
        running("web"),
        running("old"),
        running("web", 1, name="still", oneoff=True),
        running("web", 2, name="over", oneoff=True, status="exited"),
    )
    options = UpOptions(remove_orphans=True, known=frozenset({"web", "db"}))
    assert text(plan_up(target(wanted("web")), there, options)) == lines("""
        1. stop container shop-old-1  (orphan)
        2. remove container shop-old-1  (orphan)  after 1
        3. remove container over  (orphan)
    """)


def test_only_named_services_are_recreated_by_force() -> None:
    there = all_of("running")
    named = frozenset({"cache"})
    plan = text(plan_up(SHOP, there, UpOptions(force_recreate=True, named=named)))
    assert "cache" in plan and "web" not in plan
    plan = text(plan_up(SHOP, there, UpOptions(recreate_dependencies=True, named=frozenset({"web"}))))
    assert "(--always-recreate-deps)" in plan and "container shop-web-1  (--" not in plan
