"""The deployment files keep rules of our own, which no schema knows, and fit the programs that they start."""

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.gateway import check_open_files
from devstack.servers import REDIS_OPTIONS, packaged
from shared.serving import lifecycle
from shared.setting_names import PREFIX
from tests.deploy.guarded import DEPLOY
from warehouse.settings import PlatformSettings

ROOT = DEPLOY.parent
KUBERNETES = DEPLOY / "kubernetes"
WAREHOUSE = KUBERNETES / "warehouse"
MANIFESTS = sorted([*KUBERNETES.glob("*.yaml"), *WAREHOUSE.glob("*.yaml")])
DOCUMENTS = [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = ROOT / "Dockerfile"
GUIDE = ROOT / "docs" / "operations.md"
FILES = [DOCKERFILE, ROOT / "compose.yaml", ROOT / "gateway" / "kustomization.yaml", *MANIFESTS]
SCRIPTS = [DEPLOY / "kafka" / "setup.sh", *(DEPLOY / "clickhouse").glob("*.sql")]

Manifest = dict[str, Any]


def resources(kind: str) -> Iterator[Manifest]:
    """What the manifests make of this kind."""
    return (document for document in DOCUMENTS if document["kind"] == kind)


def name(resource: Manifest) -> str:
    return str(resource["metadata"]["name"])


DEPLOYMENTS = {name(each): each for each in resources("Deployment")}
PODS = {name(each): each["spec"]["template"]["spec"] for kind in ("Deployment", "Job") for each in resources(kind)}
CONTAINERS = {pod: spec["containers"][0] for pod, spec in PODS.items()}
PROGRAMS = {"ingest", "query", "flusher", "relay", "warehouse"}
MOVED = "/tmp/envoy.yaml"  # noqa: S108 - the container's own


def settings_in(text: str) -> set[str]:
    return set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text))


@pytest.mark.parametrize("path", [*FILES, GUIDE], ids=lambda path: path.name)
def test_every_setting_that_a_file_names_is_one(path: Path) -> None:
    known = {PREFIX + field.upper() for field in PlatformSettings.model_fields}
    assert set() == settings_in(path.read_text()) - known


@pytest.mark.parametrize("path", [*FILES, *SCRIPTS], ids=lambda path: path.name)
def test_every_file_says_how_far_it_was_tried(path: Path) -> None:
    assert re.search(r"^(#|--) .*it has not been(\n-- )? ?(run|built)", path.read_text(), re.MULTILINE)


class TestKubernetes:
    def test_the_kustomization_has_every_manifest_but_the_placeholders(self) -> None:
        beside = {KUBERNETES: {"../../gateway", "../../page", "../../player"}, WAREHOUSE: set()}
        for folder, others in beside.items():
            own = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "secrets.example.yaml"}
            kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
            assert own | others == set(kustomization["resources"])
            assert [] == [other for other in others if not (folder / other / "kustomization.yaml").exists()]

    @pytest.mark.parametrize("pod", PODS)
    def test_a_container_can_do_no_more_than_its_work(self, pod: str) -> None:
        spec = PODS[pod]
        assert (True, "RuntimeDefault", False) == (
            spec["securityContext"]["runAsNonRoot"],
            spec["securityContext"]["seccompProfile"]["type"],
            spec["automountServiceAccountToken"],
        )
        assert 1 == len(spec["containers"])
        assert {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        } == CONTAINERS[pod]["securityContext"]

    @pytest.mark.parametrize("pod", PODS)
    def test_a_container_has_requests_and_limits(self, pod: str) -> None:
        given = CONTAINERS[pod]["resources"]
        assert [{"cpu", "memory"}] * 2 == [set(given[kind]) for kind in ("requests", "limits")]

    @pytest.mark.parametrize("deployment", DEPLOYMENTS)
    def test_a_server_is_probed_and_outlives_one_node(self, deployment: str) -> None:
        spec = DEPLOYMENTS[deployment]["spec"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= CONTAINERS[deployment].keys()
        assert spec["replicas"] >= 2
        keys = {each["topologyKey"] for each in PODS[deployment]["topologySpreadConstraints"]}
        assert {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} == keys
        assert deployment in {name(budget) for budget in resources("PodDisruptionBudget")}

    @pytest.mark.parametrize("deployment", DEPLOYMENTS)
    def test_a_pod_is_given_longer_than_its_stop_takes(self, deployment: str) -> None:
        stop = {"gateway": 5}.get(deployment, 20)
        sleep = {"gateway": 10, "flusher": 0, "relay": 0}.get(deployment, 5)
        assert PODS[deployment]["terminationGracePeriodSeconds"] >= stop + sleep

    @pytest.mark.parametrize("kind", ["Deployment", "PodDisruptionBudget"])
    def test_a_selector_selects_its_own_pods_and_no_others(self, kind: str) -> None:
        labels = {pod: each["spec"]["template"]["metadata"]["labels"] for pod, each in DEPLOYMENTS.items()}
        for each in resources(kind):
            selector = each["spec"]["selector"]["matchLabels"].items()
            assert [name(each)] == [pod for pod, own in labels.items() if selector <= own.items()]

    def test_a_program_has_no_secrets_but_its_own(self) -> None:
        given = {name(secret): set(secret["stringData"]) for secret in resources("Secret")}
        stores = {"ANALYTICS_REDIS_URL", "ANALYTICS_MONGO_URL"}
        with_tokens = stores | {"ANALYTICS_JWT_SECRET"}
        of_kafka = {"ANALYTICS_MONGO_URL", "ANALYTICS_KAFKA_USER", "ANALYTICS_KAFKA_PASSWORD"}
        assert {
            "ingest": with_tokens,
            "query": with_tokens,
            "flusher": stores,
            "relay": of_kafka,
            "warehouse": {*of_kafka, "ANALYTICS_JWT_SECRET", "ANALYTICS_CLICKHOUSE_URL"},
        } == given
        mounted = {pod: PODS[pod]["volumes"][0]["secret"]["secretName"] for pod in (*PROGRAMS, "init")}
        assert {**{program: program for program in PROGRAMS}, "init": "flusher"} == mounted

    def test_no_secret_of_the_example_is_one(self) -> None:
        given = [item for secret in resources("Secret") for item in secret["stringData"].items()]
        assert [] == [value for setting, value in given if "PLACEHOLDER" not in value and not setting.endswith("_USER")]

    def test_a_program_listens_where_its_ports_and_the_policies_say(self) -> None:
        for program in PROGRAMS:
            container = CONTAINERS[program]
            listens = {int(each["value"].rpartition(":")[2]) for each in container["env"]}
            assert listens == {each["containerPort"] for each in container["ports"]}
            assert listens <= allowed(program)


def allowed(program: str) -> set[int]:
    """The ports on which anybody may reach a program."""
    ports: set[int] = set()
    for policy in resources("NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        one = selector.get("matchLabels", {}).get("app.kubernetes.io/name")
        several = [value for each in selector.get("matchExpressions", ()) for value in each["values"]]
        if program in (one, *several):
            ports |= {port["port"] for rule in policy["spec"].get("ingress", ()) for port in rule["ports"]}
    return ports


@pytest.fixture(scope="module", params=["compose", "kubernetes"])
def moved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration that the gateway's container makes of the repository's."""
    in_compose = COMPOSE["services"]["gateway"]["entrypoint"]
    shell, flags, script = in_compose if request.param == "compose" else CONTAINERS["gateway"]["command"]
    path = tmp_path_factory.mktemp("gateway") / "envoy.yaml"
    for written, here in (("$$", "$"), ("/etc/gateway", str(ROOT / "gateway")), (MOVED, str(path))):
        script = script.replace(written, here)
    command = [shell, flags, script.partition("exec envoy")[0]]
    subprocess.run(command, check=True, env={**os.environ, "GATEWAY_ORIGIN": "https://courses.example.org"})
    return path


class TestGateway:
    def test_it_is_one_that_envoy_takes(self, moved: Path) -> None:
        envoy = [str(packaged("envoy/_bin/envoy")), "--mode", "validate", "--log-level", "error", "-c", str(moved)]
        assert 0 == subprocess.run(envoy, cwd=ROOT, check=False, capture_output=True).returncode

    def test_it_reaches_the_servers_by_their_names_and_is_reached_itself(self, moved: Path) -> None:
        configuration = yaml.safe_load(moved.read_text())["static_resources"]
        (listener,) = configuration["listeners"]
        assert {"address": "0.0.0.0", "port_value": 8080} == listener["address"]["socket_address"]  # noqa: S104 - meant
        servers = {
            cluster["name"]: cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
            for cluster in configuration["clusters"]
        }
        headless = {name(each): each["spec"]["ports"][0]["port"] for each in resources("Service")}
        for server in ("ingest", "query", "warehouse"):
            assert {"address": server, "port_value": headless[server]} == servers[server]["socket_address"]
            assert COMPOSE["services"][server]

    def test_it_says_that_it_is_full_before_it_would_be_killed(self, moved: Path) -> None:
        monitors = yaml.safe_load(moved.read_text())["overload_manager"]["resource_monitors"]
        (heap,) = (each["typed_config"]["max_heap_size_bytes"] for each in monitors if "fixed_heap" in each["name"])
        (mebibytes,) = re.findall(r"^(\d+)Mi$", CONTAINERS["gateway"]["resources"]["limits"]["memory"])
        assert heap * 1.2 < int(mebibytes) * 1024 * 1024

    def test_it_has_more_open_files_than_it_takes_connections(self, moved: Path) -> None:
        configuration = yaml.safe_load(moved.read_text())
        check_open_files(configuration, COMPOSE["services"]["gateway"]["ulimits"]["nofile"])
        (needed,) = re.findall(r"\[ \"\$\(ulimit -n\)\" -gt (\d+) \]", CONTAINERS["gateway"]["command"][2])
        check_open_files(configuration, int(needed) + 1)

    def test_browsers_may_call_from_the_given_origin_alone(self, moved: Path) -> None:
        assert ["https://courses.example.org"] == re.findall(r'exact: "(.*?)"', moved.read_text())


def named_files(configuration: Path) -> set[str]:
    """The files that Envoy reads at its start, relative to where it runs."""
    return set(re.findall(r"(?:filename|proto_descriptor): ([^\s}]+)", configuration.read_text()))


class TestServedFiles:
    def test_compose_has_each_where_the_configuration_names_it(self) -> None:
        mounted = [volume.split(":")[:2] for volume in COMPOSE["services"]["gateway"]["volumes"]]
        assert COMPOSE["services"]["gateway"]["working_dir"] == "/etc"
        folders = {there.removeprefix("/etc/") for here, there in mounted if f"/etc/{here.removeprefix('./')}" == there}
        assert {file.split("/")[0] for file in named_files(ROOT / "gateway" / "envoy.yaml")} == folders

    def test_kubernetes_has_each_where_the_configuration_names_it(self) -> None:
        maps = {
            each["name"]: (folder, each["files"])
            for folder in ("gateway", "player", "page")
            for each in yaml.safe_load((ROOT / folder / "kustomization.yaml").read_text())["configMapGenerator"]
        }
        pod = PODS["gateway"]
        volumes = {each["name"]: each.get("configMap", {}).get("name") for each in pod["volumes"]}
        there = set()
        for mount in pod["containers"][0]["volumeMounts"]:
            if name := volumes[mount["name"]]:
                folder, files = maps[name]
                assert [] == [file for file in files if not (ROOT / folder / file).is_file()]
                there |= {f"{mount['mountPath']}/{Path(file).name}".removeprefix("/etc/") for file in files}
        assert named_files(ROOT / "gateway" / "envoy.yaml") <= there


class TestCompose:
    def test_the_warehouse_is_there_for_who_asks_and_the_rest_does_without(self) -> None:
        assert {"clickhouse", "warehouse"} == {
            name for name, service in COMPOSE["services"].items() if service.get("profiles") == ["warehouse"]
        }
        needed = {each for service in COMPOSE["services"].values() for each in service.get("depends_on", ())}
        assert "warehouse" not in needed

    def test_its_redis_keeps_what_it_answers_for(self) -> None:
        words = COMPOSE["services"]["redis"]["command"].split()
        given = dict(zip((word.removeprefix("--") for word in words[1::2]), words[2::2], strict=True))
        assert given.items() >= REDIS_OPTIONS.items()

    @pytest.mark.parametrize("program", sorted(PROGRAMS - {"relay"}))
    def test_a_program_can_do_no_more_than_its_work(self, program: str) -> None:
        service = COMPOSE["services"][program]
        assert (True, ["ALL"], ["no-new-privileges:true"]) == (
            service["read_only"],
            service["cap_drop"],
            service["security_opt"],
        )
        assert [f"analytics-{program}"] == service["command"]

    def test_who_looks_for_secrets_is_given_some(self) -> None:
        services = COMPOSE["services"].items()
        looking = {name for name, each in services if "ANALYTICS_SECRETS_DIR" in each.get("environment", {})}
        assert {name for name, each in services if "secrets" in each} == looking

    def test_only_the_gateway_is_reached_from_outside_and_the_stores_have_no_way_out(self) -> None:
        assert ["gateway"] == [name for name, service in COMPOSE["services"].items() if "ports" in service]
        assert COMPOSE["networks"]["stores"]["internal"]


def test_the_image_is_built_from_all_packages_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = {
        package.partition("/")[0] for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    }
    sources = {*folders, "pyproject.toml", "README.md", "LICENSE", "requirements.lock"}
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
    let_in = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert sources == {word for words in copied for word in words.split()} == set(let_in)


def test_the_guide_says_what_to_do_about_every_alert() -> None:
    rules = [yaml.safe_load(path.read_text()) for path in (DEPLOY / "prometheus").glob("*.yaml")]
    alerts = {
        rule["alert"]
        for each in rules
        for group in each.get("groups", ())
        for rule in group["rules"]
        if "alert" in rule
    }
    assert set() == alerts - set(
        re.findall(r"^### (\w+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    )


def test_a_systemd_unit_starts_a_program_again_whatever_it_ended_with() -> None:
    lines = (DEPLOY / "systemd" / "analytics@.service").read_text().splitlines()
    unit = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    assert ("always", "0") == (unit["Restart"], unit["StartLimitIntervalSec"])
    assert "RestartPreventExitStatus" not in unit
    assert lifecycle.STOP_SECONDS < int(unit["TimeoutStopSec"])
