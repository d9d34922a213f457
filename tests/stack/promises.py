"""What docker-compose.yml and the Dockerfile promise, as checks of their text: each returns a list of faults, a line each.

No Docker is needed; `scripts/stack-proof` shows the same on a running stack.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
ONE_SHOT = {"init", "cli"}  # these end by themselves: no restart, no health check
_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::-([^}]*))?\}|(?<!\$)\$(\w+)")
_BUILDKIT_ONLY = re.compile(
    r"^\s*#\s*syntax\s*=|^\s*(?:RUN|COPY|ADD)\s+(?:--(?:mount|chmod|link|parents)\b|<<)|--start-interval", re.MULTILINE
)


def compose() -> dict[str, Any]:
    """docker-compose.yml as it is written."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def dockerfile() -> str:
    """The Dockerfile's text."""
    return (ROOT / "Dockerfile").read_text()


def plain(value: Any) -> str:
    """``value`` with each variable at what it is if unset, and ``$$`` as ``$``."""
    return _VARIABLE.sub(lambda match: match[2] or "", str(value)).replace("$$", "$")


def texts(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Place and text of each string in the document."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from texts(inner, f"{where}.{name}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, where)
    elif isinstance(value, str):
        yield where, value


def open_ports(document: Mapping[str, Any]) -> list[str]:
    """Ports that more than this machine could reach, and those of services of which there may be several."""
    faults = []
    for name, service in document["services"].items():
        for port in service.get("ports", []):
            if name != "redis":
                faults.append(f"{name}: publishes {port}; a second one could not start")
            if not (isinstance(port, str) and port.startswith("127.0.0.1:")):
                faults.append(f"{name}: {port} is not on 127.0.0.1 alone")
        if service.get("network_mode") == "host":
            faults.append(f"{name}: on the network of the host")
        if "container_name" in service:
            faults.append(f"{name}: a fixed name; a second one could not start")
    return faults


def privileges(document: Mapping[str, Any]) -> list[str]:
    """Services that have more than they need."""
    faults = []
    for name, service in document["services"].items():
        user = str(service.get("user", "0"))
        if not re.fullmatch(r"[1-9]\d+:[1-9]\d+", user):
            faults.append(f"{name}: user {user} is not a number other than root's")
        if service.get("cap_drop") != ["ALL"] or service.get("cap_add") or service.get("privileged"):
            faults.append(f"{name}: keeps capabilities")
        if service.get("read_only") is not True:
            faults.append(f"{name}: its root file system can be written")
        if "no-new-privileges:true" not in service.get("security_opt", []):
            faults.append(f"{name}: may gain privileges")
    return faults


def lifecycles(document: Mapping[str, Any]) -> list[str]:
    """Services that do not come back, that start too early, or whose health nobody sees."""
    faults = []
    for name, service in document["services"].items():
        lasting = name not in ONE_SHOT
        if service.get("restart") != ("unless-stopped" if lasting else "no"):
            faults.append(f"{name}: restart {service.get('restart')}")
        if service.get("healthcheck", {}).get("disable", False) == lasting:
            faults.append(f"{name}: a health check where none belongs, or none where one does")
        needed = {"redis": {"init": "service_completed_successfully"}}.get(name, {"redis": "service_healthy"})
        waits = {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        if lasting and waits != needed:
            faults.append(f"{name}: waits for {waits or 'nothing'}")
        if lasting and "stop_grace_period" not in service:
            faults.append(f"{name}: no stop_grace_period")
    return faults


def secrets(document: Mapping[str, Any]) -> list[str]:
    """Places that would hold a credential: arguments, variables, URLs."""
    faults = []
    for where, text in texts(document["services"]):
        if re.search(r"redis(s)?://[^/\s]*@", text) or re.search(r"--requirepass|-a\s+\S*\$|REDISCLI_AUTH", text):
            faults.append(f"{where}: holds a credential")
    for name, service in document["services"].items():
        variables = service.get("environment", {})
        faults += [f"{name}: variable {one}" for one in variables if re.search(r"PASSWORD$|SECRET|TOKEN", one)]
    return faults


def demands(text: str) -> list[str]:
    """Variables that somebody would have to set."""
    return [f"{match[1] or match[3]}: has no value if unset" for match in _VARIABLE.finditer(_uncommented(text)) if match[2] is None]


def durability(document: Mapping[str, Any]) -> list[str]:
    """Options with which Redis could lose an acknowledged run."""
    redis = document["services"]["redis"]
    words = [plain(word) for word in redis["command"]]
    wanted = {"--appendonly": "yes", "--appendfsync": "always", "--maxmemory-policy": "noeviction"}
    faults = [f"redis: {name} {value} is missing" for name, value in wanted.items() if (name, value) not in itertools.pairwise(words)]
    if not any(isinstance(volume, dict) and volume["target"] == "/data" and volume["type"] == "volume" for volume in redis["volumes"]):
        faults.append("redis: /data is not a volume")
    return faults


def image(text: str) -> list[str]:
    """What an image of ours must not be: root's, unhealthy unseen, or only for BuildKit."""
    last = text.rpartition("\nFROM ")[2]
    users = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    faults = [f"only BuildKit knows: {match.group().strip()}" for match in _BUILDKIT_ONLY.finditer(text)]
    if not users or not re.fullmatch(r"[1-9]\d+:[1-9]\d+", users[-1]):
        faults.append(f"runs as {users[-1] if users else 'root'}, not as a number other than root's")
    if not re.search(r'^HEALTHCHECK .*CMD \["taskq", "doctor", "--here"\]$', last, re.MULTILINE):
        faults.append("has no health check")
    if "PYTHONUNBUFFERED=1" not in last:
        faults.append("keeps its log in a buffer")
    return faults


def _uncommented(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
