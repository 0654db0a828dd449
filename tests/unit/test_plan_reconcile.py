"""Plans as text: what `up` and `down` decide, without input or output."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from compose.errors import PlanError
from compose.plan.actions import CreateContainer, RemoveContainer
from compose.plan.boot import plan_boot
from compose.plan.observed import Observed, ObservedContainer, ObservedNetwork, ObservedVolume
from compose.plan.reconcile import UpOptions, plan_images, plan_up
from compose.plan.target import Target, Wanted, WantedNetwork, WantedVolume
from compose.plan.teardown import DownOptions, plan_abandoned, plan_down, plan_stop


def wanted(name: str, *, scale: int = 1, hash: str | None = None, **config: Any) -> Wanted:
    config.setdefault("networks", {"default": None})
    return Wanted(name, config, hash or f"hash-{name}", f"image-{name}", scale)


def target(*services: Wanted, volumes: tuple[str, ...] = ()) -> Target:
    return Target(
        "shop",
        services,
        {"default": WantedNetwork("default", "shop_default", "net-1")},
        {key: WantedVolume(key, f"shop_{key}", "vol-1") for key in volumes},
    )


def running(service: str, number: int = 1, **changes: Any) -> ObservedContainer:
    container = ObservedContainer(
        f"shop-{service}-{number}", service, number, "running", f"hash-{service}", f"id-{service}"
    )
    return container._replace(**changes)


def observed(*containers: ObservedContainer, **changes: Any) -> Observed:
    everything = Observed(
        containers,
        (ObservedNetwork("default", "shop_default", "net-1"),),
        (),
        {f"image-{c.service}": f"id-{c.service}" for c in containers},
        sandbox=True,
    )
    return everything._replace(**changes)


def text(plan: object) -> str:
    return str(plan)


def lines(expected: str) -> str:
    return dedent(expected).strip()


WEB_AND_DB = target(
    wanted("db", volumes=[{"type": "volume", "source": "data", "target": "/data"}]),
    wanted("web", depends_on={"db": {"condition": "service_healthy"}}),
    volumes=("data",),
)


def test_everything_is_made_in_dependency_order() -> None:
    assert text(plan_up(WEB_AND_DB, Observed(), UpOptions())) == lines("""
        1. create network shop_default  (new)
        2. create volume shop_data  (new)
        3. create container shop-db-1  (new)  after 1, 2
        4. start container shop-db-1  after 3
        5. create container shop-web-1  (new)  after 1
        6. wait for health of shop-db-1  after 4
        7. start container shop-web-1  after 5, 6
    """)


def test_a_second_up_does_nothing() -> None:
    there = observed(
        running("db", health="healthy"),
        running("web"),
        volumes=(ObservedVolume("data", "shop_data", "vol-1"),),
    )
    assert not plan_up(WEB_AND_DB, there, UpOptions())


def test_a_changed_service_is_recreated_alone_and_says_what_changed() -> None:
    there = observed(
        running("db", health="healthy"),
        running(
            "web", config_hash="old", config={"environment": {"TZ": "UTC"}, "networks": {"default": None}}
        ),
        volumes=(ObservedVolume("data", "shop_data", "vol-1"),),
    )
    web = wanted("web", environment={"TZ": "CET"}, depends_on={"db": {"condition": "service_healthy"}})
    changed = WEB_AND_DB._replace(services=(WEB_AND_DB.services[0], web))
    assert text(plan_up(changed, there, UpOptions())) == lines("""
        1. stop container shop-web-1  (environment.TZ changed)
        2. create container shop-web-1  (environment.TZ changed)  after 1
        3. start container shop-web-1  after 2
    """)


def test_a_newer_image_recreates_its_containers() -> None:
    there = observed(running("web", image="id-old"))
    assert text(plan_up(target(wanted("web")), there, UpOptions())) == lines("""
        1. stop container shop-web-1  (image image-web is newer)
        2. create container shop-web-1  (image image-web is newer)  after 1
        3. start container shop-web-1  after 2
    """)


def test_what_has_exited_is_started_again() -> None:
    there = observed(running("web", status="exited", exit_code=0))
    assert (
        text(plan_up(target(wanted("web")), there, UpOptions()))
        == "1. start container shop-web-1  (it is exited)"
    )


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"whole": False, "status": "created"}, "half-made"),
        ({"connected": False, "status": "running"}, "its network is gone"),
    ],
)
def test_what_cannot_be_used_is_recreated(changes: dict[str, Any], cause: str) -> None:
    there = observed(running("web", **changes))
    plan = plan_up(target(wanted("web")), there, UpOptions())
    assert [str(one) for one in plan.operations if isinstance(one.action, CreateContainer)] == [
        f"create container shop-web-1  ({cause})"
    ]


def test_a_network_whose_record_alone_is_there_is_made_again() -> None:
    there = observed(
        running("web", status="exited", connected=False),
        networks=(ObservedNetwork("default", "shop_default", "net-1", whole=False),),
    )
    assert text(plan_up(target(wanted("web")), there, UpOptions())) == lines("""
        1. create network shop_default  (only its record is there)
        2. reconnect container shop-web-1  (its network is gone)  after 1
        3. start container shop-web-1  (it is exited)  after 2
    """)


def test_a_changed_network_takes_its_containers_with_it() -> None:
    there = observed(running("web"), networks=(ObservedNetwork("default", "shop_default", "net-0"),))
    assert text(plan_up(target(wanted("web")), there, UpOptions())) == lines("""
        1. stop container shop-web-1  (network default changed)
        2. remove network shop_default  (its configuration changed)  after 1
        3. create network shop_default  (its configuration changed)  after 2
        4. create container shop-web-1  (network default changed)  after 1, 3
        5. start container shop-web-1  after 4
    """)


def test_a_changed_network_that_others_use_is_refused() -> None:
    there = observed(networks=(ObservedNetwork("default", "shop_default", "net-0", users=("blog-web-1",)),))
    with pytest.raises(PlanError, match="shop_default has changed but is in use by blog-web-1"):
        plan_up(target(wanted("web")), there, UpOptions())


def test_scaling_down_removes_the_last_ones() -> None:
    there = observed(running("web"), running("web", 2), running("web", 3, status="exited"))
    assert text(plan_up(target(wanted("web", scale=1)), there, UpOptions())) == lines("""
        1. stop container shop-web-2  (scaled to 1)
        2. remove container shop-web-2  (scaled to 1)  after 1
        3. remove container shop-web-3  (scaled to 1)
    """)


def test_orphans_stay_unless_asked() -> None:
    there = observed(running("web"), running("old"))
    assert not plan_up(target(wanted("web")), there, UpOptions())
    assert text(plan_up(target(wanted("web")), there, UpOptions(remove_orphans=True))) == lines("""
        1. stop container shop-old-1  (orphan)
        2. remove container shop-old-1  (orphan)  after 1
    """)


def test_a_dependent_restarts_with_its_dependency_when_it_asks_for_it() -> None:
    db = wanted("db", hash="new")
    web = wanted("web", depends_on={"db": {"condition": "service_started", "restart": True}})
    there = observed(running("db"), running("web"))
    assert text(plan_up(target(db, web), there, UpOptions())) == lines("""
        1. stop container shop-db-1  (networks added)
        2. create container shop-db-1  (networks added)  after 1
        3. start container shop-db-1  after 2
        4. stop container shop-web-1  (db was recreated)
        5. start container shop-web-1  (db was recreated)  after 3, 4
    """)


def test_a_one_off_that_has_completed_is_not_waited_for() -> None:
    migrate = wanted("migrate")
    web = wanted("web", depends_on={"migrate": {"condition": "service_completed_successfully"}})
    assert text(plan_up(target(migrate, web), observed(), UpOptions())) == lines("""
        1. create container shop-migrate-1  (new)
        2. start container shop-migrate-1  after 1
        3. create container shop-web-1  (new)
        4. wait for completion of shop-migrate-1  after 2
        5. start container shop-web-1  after 3, 4
    """)


def test_what_others_depend_on_is_waited_for_although_all_run() -> None:
    shop = target(wanted("db"), wanted("web", depends_on={"db": {"condition": "service_healthy"}}))
    well, ill = running("db", health="healthy"), running("db", health="unhealthy")
    web = running("web")
    assert not plan_up(shop, observed(well, web), UpOptions())
    assert text(plan_up(shop, observed(ill, web), UpOptions())) == "1. wait for health of shop-db-1"
    assert not plan_up(shop, observed(ill, web), UpOptions(no_start=True))


def test_images_are_built_once_a_name_and_fetched_when_missing() -> None:
    web = Wanted("web", {"build": {"context": "."}}, "h", "shop-web")
    worker = Wanted("worker", {"build": {"context": "."}}, "h", "shop-web")
    db = Wanted("db", {}, "h", "debian:bookworm")
    assert text(plan_images(target(web, worker, db), Observed())) == lines("""
        1. build image shop-web  (not built yet)
        2. fetch image debian:bookworm  (not in the store)
    """)
    there = Observed(images={"shop-web": "a", "debian:bookworm": "b"})
    assert not plan_images(target(web, worker, db), there)
    assert (
        text(plan_images(target(web, worker, db), there, build=True)) == "1. build image shop-web  (--build)"
    )


def test_pull_policy_never_is_an_error_before_anything_happens() -> None:
    with pytest.raises(PlanError, match="no image debian:bookworm in the store and pull_policy is never"):
        plan_images(target(Wanted("db", {"pull_policy": "never"}, "h", "debian:bookworm")), Observed())


def test_down_stops_dependents_first_and_removes_everything() -> None:
    there = observed(running("db"), running("web"), volumes=(ObservedVolume("data", "shop_data", "v"),))
    plan = plan_down("shop", there, DownOptions(volumes=True), dependencies={"web": ["db"], "db": []})
    assert text(plan) == lines("""
        1. stop container shop-web-1
        2. stop container shop-db-1  after 1
        3. remove container shop-db-1  after 2
        4. remove container shop-web-1  after 1
        5. remove network shop_default  after 3, 4
        6. remove volume shop_data  after 3, 4
        7. remove sandbox of shop  after 3, 4, 5
    """)


def test_down_keeps_volumes_and_networks_that_others_use() -> None:
    there = observed(
        running("web", status="exited"),
        networks=(ObservedNetwork("default", "shop_default", "n", users=("blog-web-1",)),),
        volumes=(ObservedVolume("data", "shop_data", "v"),),
    )
    assert text(plan_down("shop", there, DownOptions())) == lines("""
        1. remove container shop-web-1
        2. leave sandbox of shop  (in use by blog-web-1)  after 1
    """)


def test_what_a_project_has_left_goes_with_its_last_user() -> None:
    users = ("blog.web.1", "blog.web.2")
    there = Observed(networks=(ObservedNetwork("default", "shop_default", "n", users=users),), sandbox=True)
    assert not plan_abandoned("shop", there)
    assert not plan_abandoned("shop", there, leaving="blo")
    assert text(plan_abandoned("shop", there, leaving="blog")) == lines("""
        1. remove network shop_default
        2. remove sandbox of shop  after 1
    """)
    assert not plan_abandoned("shop", there._replace(recorded=True), leaving="blog")
    assert not plan_abandoned("shop", observed(running("web")))


def test_another_projects_network_whose_record_alone_is_there_is_made_again() -> None:
    there = {"default": WantedNetwork("default", "blog_default", "n", external=True)}
    wants = Target("shop", (wanted("web"),), there, {})
    images = {"image-web": "id-web"}
    assert "network" not in text(plan_up(wants, Observed(images=images), UpOptions()))
    plan = plan_up(wants, Observed(images=images, lost=frozenset({"blog_default"})), UpOptions())
    assert text(plan) == lines("""
        1. create network blog_default  (only its record is there)
        2. create container shop-web-1  (new)  after 1
        3. start container shop-web-1  after 2
    """)


def test_down_of_nothing_is_nothing() -> None:
    assert not plan_down("shop", Observed(), DownOptions(volumes=True))


def test_stop_orders_through_services_that_do_not_run() -> None:
    there = observed(running("a"), running("b", status="exited"), running("c"))
    plan = plan_stop(there, (), {"a": ["b"], "b": ["c"], "c": []}, None)
    assert text(plan) == lines("""
        1. stop container shop-a-1
        2. stop container shop-c-1  after 1
    """)


PORT = [{"mode": "ingress", "target": 80, "published": "8080", "protocol": "tcp"}]


def test_a_renamed_service_that_keeps_its_container_name_replaces_that_container() -> None:
    there = observed(running("old", name="one"))
    new = target(wanted("new")._replace(container_name="one"))
    assert text(plan_up(new, there, UpOptions(remove_orphans=True))) == lines("""
        1. stop container one  (it was of service old)
        2. create container one  (it was of service old)  after 1
        3. start container one  after 2
    """)


def test_services_may_swap_their_container_names() -> None:
    there = observed(running("a", name="one"), running("b", name="two"))
    swapped = target(wanted("a")._replace(container_name="two"), wanted("b")._replace(container_name="one"))
    assert text(plan_up(swapped, there, UpOptions())) == lines("""
        1. stop container two  (it was of service b)
        2. create container two  (it was of service b)  after 1
        3. start container two  after 2
        4. stop container one  (it was of service a)
        5. create container one  (it was of service a)  after 4
        6. start container one  after 5
    """)


def test_an_orphan_gives_its_port_to_its_successor() -> None:
    there = observed(running("old", config={"ports": PORT}))
    new = target(wanted("new", ports=PORT))
    assert text(plan_up(new, there, UpOptions(remove_orphans=True))) == lines("""
        1. stop container shop-old-1  (orphan)
        2. remove container shop-old-1  (orphan)  after 1
        3. create container shop-new-1  (new)
        4. start container shop-new-1  after 1, 3
    """)


def test_a_port_may_move_from_one_service_to_another() -> None:
    networks = {"default": None}
    there = observed(
        running("b", config_hash="old", config={"ports": PORT, "networks": networks}),
        running("a", config={"networks": networks}),
    )
    moved = target(wanted("a", ports=PORT, hash="new"), wanted("b"))
    assert text(plan_up(moved, there, UpOptions())) == lines("""
        1. stop container shop-b-1  (ports removed)
        2. stop container shop-a-1  (ports added)
        3. create container shop-a-1  (ports added)  after 2
        4. start container shop-a-1  after 1, 3
        5. create container shop-b-1  (ports removed)  after 1
        6. start container shop-b-1  after 5
    """)


def test_a_volume_of_another_name_is_another_volume() -> None:
    volumes = [{"type": "volume", "source": "data", "target": "/data"}]
    there = observed(
        running("db", volumes=frozenset({"old"}), networks=frozenset({"shop_default"})),
        volumes=(ObservedVolume("data", "old", "vol-1"),),
    )
    assert text(plan_up(target(wanted("db", volumes=volumes), volumes=("data",)), there, UpOptions())) == (
        lines("""
        1. create volume shop_data  (new)
        2. stop container shop-db-1  (volume data changed)
        3. create container shop-db-1  (volume data changed)  after 1, 2
        4. start container shop-db-1  after 3
    """)
    )


def test_a_network_that_is_another_one_now_takes_its_containers_with_it() -> None:
    there = observed(running("web", networks=frozenset({"shop_default"})))
    external = target(wanted("web"))._replace(
        networks={"default": WantedNetwork("default", "others", "net-2", external=True)}
    )
    assert "network default changed" in text(plan_up(external, there, UpOptions()))


def test_an_external_volume_must_be_there() -> None:
    volumes = {"data": WantedVolume("data", "elsewhere", "vol", external=True)}
    mounted = wanted("db", volumes=[{"type": "volume", "source": "data", "target": "/data"}])
    needs = target(mounted)._replace(volumes=volumes)
    with pytest.raises(PlanError, match="elsewhere is declared as external"):
        plan_up(needs, observed(), UpOptions())
    assert plan_up(needs, observed(external_volumes=frozenset({"elsewhere"})), UpOptions())


def test_a_failed_creation_takes_back_what_nobody_inherits() -> None:
    made = plan_up(target(wanted("web")), observed(), UpOptions()).operations[0]
    assert made.undo == RemoveContainer("shop-web-1", volumes=True)
    there = observed(running("web", config_hash="old"))
    replaced = plan_up(target(wanted("web")), there, UpOptions(fresh_volumes=True)).operations[1]
    assert replaced.action == CreateContainer("shop-web-1", "web", 1, "shop-web-1", fresh_volumes=True)
    assert replaced.undo is None


def test_down_takes_the_volumes_of_containers_that_are_gone() -> None:
    there = Observed(volumes=(ObservedVolume("", "a1b2", ""),))
    assert text(plan_down("shop", there, DownOptions(volumes=True))) == "1. remove volume a1b2"
    assert not plan_down("shop", there, DownOptions())


def test_down_leaves_external_volumes_whoever_made_them() -> None:
    volumes = tuple(ObservedVolume(key, f"shop_{key}", "") for key in ("data", "cache"))
    there = Observed(volumes=volumes)
    plan = plan_down("shop", there, DownOptions(volumes=True), external_volumes={"shop_data"})
    assert text(plan) == "1. remove volume shop_cache"


def test_down_leaves_external_networks_whoever_made_them() -> None:
    networks = tuple(ObservedNetwork(key, f"shop_{key}", "n") for key in ("front", "back"))
    there = observed(running("web", status="exited"), networks=networks)._replace(recorded=True)
    assert text(plan_down("shop", there, DownOptions(), external_networks={"shop_front"})) == lines("""
        1. remove container shop-web-1
        2. remove network shop_back  after 1
        3. leave sandbox of shop  (shop_front is external)  after 1, 2
    """)


# after a restart of the machine -----------------------------------------------------------------------------


def test_what_comes_back_starts_in_order_with_its_networks() -> None:
    gone: dict[str, Any] = {"status": "exited", "connected": False}
    there = observed(
        running("web", **gone),
        running("db", **gone),
        running("job", **gone),
        networks=(ObservedNetwork("default", "shop_default", "net-1", whole=False),),
    )
    assert text(plan_boot(WEB_AND_DB, there, {"shop-web-1", "shop-db-1"})) == lines("""
        1. create network shop_default  (only its record is there)
        2. reconnect container shop-db-1  (its namespace is gone)  after 1
        3. start container shop-db-1  (it ran when the machine went down)  after 2
        4. wait for health of shop-db-1  after 3
        5. reconnect container shop-web-1  (its namespace is gone)  after 1
        6. start container shop-web-1  (it ran when the machine went down)  after 4, 5
    """)
    assert not plan_boot(WEB_AND_DB, there, set())


@pytest.mark.parametrize(
    ("pull", "there", "expected"),
    [
        ("policy", True, ""),
        ("missing", True, ""),
        ("always", True, "1. fetch image image-web  (--pull always)"),
        ("missing", False, "1. fetch image image-web  (not in the store)"),
    ],
)
def test_an_image_is_fetched_as_pull_says(pull: str, there: bool, expected: str) -> None:
    images = {"image-web": "id-web"} if there else {}
    assert text(plan_images(target(wanted("web")), Observed(images=images), pull=pull)) == expected


def test_pull_stands_for_the_policies_of_the_file() -> None:
    with pytest.raises(PlanError, match="--pull is never"):
        plan_images(target(wanted("web")), Observed(), pull="never")
    built = target(wanted("web", build={"context": "."}))
    there = Observed(images={"image-web": "id-web"})
    assert text(plan_images(built, there, pull="build")) == "1. build image image-web  (--pull build)"
    never = target(wanted("web", pull_policy="never"))
    assert (
        text(plan_images(never, Observed(), pull="missing")) == "1. fetch image image-web  (not in the store)"
    )


def test_who_takes_over_mounts_is_made_after_and_again_with_the_one_that_lends_them() -> None:
    services = (wanted("data"), wanted("web", volumes_from=["data:ro", "container:other"]))
    both = target(*services)
    made = text(plan_up(both, Observed(), UpOptions()))
    assert "4. create container shop-web-1  (new)  after 1, 2" in made
    assert "2. create container shop-data-1  (new)  after 1" in made
    there = observed(running("data", config_hash="old"), running("web", lenders=frozenset({"shop-data-1"})))
    plan = text(plan_up(both, there, UpOptions()))
    assert "create container shop-web-1  (shop-data-1, whose mounts it has, is recreated)" in plan
    gone = observed(running("data"), running("web", lenders=frozenset({""})))
    plan = text(plan_up(both, gone, UpOptions()))
    assert "create container shop-web-1  (the container whose mounts it has is gone)" in plan


def test_a_newer_image_that_is_mounted_makes_the_container_again() -> None:
    mount = {"type": "image", "source": "site", "target": "/site"}
    stack = target(wanted("web", volumes=[mount]))
    there = observed(running("web", mounted_images=frozenset({"id-old"})))
    newer = there._replace(images={**there.images, "site": "id-new"})
    assert "create container shop-web-1  (image site changed)" in text(plan_up(stack, newer, UpOptions()))
    same = there._replace(images={**there.images, "site": "id-old"})
    assert not plan_up(stack, same, UpOptions())
    fetched = text(plan_images(stack, there))
    assert "fetch image site  (mount of web)" in fetched


def test_what_is_written_into_a_config_or_secret_makes_the_container_again() -> None:
    stack = target(wanted("web")._replace(contents={"configs.c": "new"}))
    plan = text(plan_up(stack, observed(running("web", contents={"configs.c": "old"})), UpOptions()))
    assert "create container shop-web-1  (configs.c changed)" in plan
    for known in ({"configs.c": "new"}, None):
        assert not plan_up(stack, observed(running("web", contents=known)), UpOptions())


GUEST_AND_OWNER = target(
    wanted("owner", hash="new", networks={}),
    wanted("guest", networks={}, network_mode="service:owner", depends_on={"owner": {"restart": True}}),
)


def test_whoever_shares_a_namespace_goes_before_its_owner_and_comes_back_after_it() -> None:
    there = observed(
        running("owner", config={"networks": {}, "hostname": "x"}),
        running("guest", shares={"pid": "shop-owner-1"}),
    )
    assert text(plan_up(GUEST_AND_OWNER, there, UpOptions())) == lines("""
        1. stop container shop-guest-1  (shop-owner-1 is recreated)
        2. stop container shop-owner-1  (hostname removed)  after 1
        3. create container shop-owner-1  (hostname removed)  after 1, 2
        4. start container shop-owner-1  after 3
        5. create container shop-guest-1  (shop-owner-1, whose pid namespace it shares, is recreated)  after 1
        6. start container shop-guest-1  after 4, 5
    """)


@pytest.mark.parametrize("options", [UpOptions(), UpOptions(no_recreate=True)])
def test_whose_owner_is_gone_is_recreated_whatever_was_asked(options: UpOptions) -> None:
    there = observed(running("owner", config_hash="new"), running("guest", shares={"pid": ""}))
    found = text(plan_up(GUEST_AND_OWNER, there, options))
    assert "(the container whose pid namespace it shares is gone)" in found
    assert "shop-owner-1  (" not in found
