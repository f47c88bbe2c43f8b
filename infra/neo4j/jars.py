"""What Neo4j runs on: a Java that is new enough, and the server's jars, which Maven fetches from where its own settings say."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

RESOLVER = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath"
POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>local</groupId><artifactId>classpath</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>{}</version></dependency></dependencies>
</project>
"""


def fail(message: str) -> NoReturn:
    """Ends with one sentence for the user."""
    sys.exit(f"neo4j: {message}")


def is_calendar(version: str) -> bool:
    """Whether the version is named by year: these have other names for a few things."""
    return int(version.split(".", 1)[0]) >= 2025


def find_java(version: str) -> tuple[str, int]:
    """A Java that runs this version, and its major version."""
    needed = 21 if is_calendar(version) else 17
    homes = [os.environ.get("NEO4J_JAVA_HOME"), os.environ.get("JAVA_HOME")]
    installed = [*Path("/usr/lib/jvm").glob("*/bin/java"), *Path("/Library/Java/JavaVirtualMachines").glob("*/Contents/Home/bin/java")]
    looked_at = []
    for java in [*(f"{home}/bin/java" for home in homes if home), shutil.which("java"), *sorted(map(str, installed))]:
        if java is None:
            continue
        found = java_major(java)
        if found >= needed:
            return java, found
        looked_at.append(f"{java} ({found or 'does not run'})")
    fail(
        f"Neo4j {version} needs Java {needed} or later; found: {', '.join(looked_at) or 'none'}. Install it (Debian: apt-get install default-jre-headless; "
        "macOS: brew install openjdk), or name its folder in NEO4J_JAVA_HOME."
    )


def java_major(java: str) -> int:
    """17 for 17.0.15, 8 for 1.8, 0 for what does not run."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found[1]) if found else 0


def class_path(cache: Path, version: str) -> list[str]:
    """The jars of a version; Maven fetches those that are missing, from where its own settings say."""
    folder = cache / version
    folder.mkdir(parents=True, exist_ok=True)
    listed = folder / "classpath.txt"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        jars = listed.read_text().strip().split(os.pathsep) if listed.exists() else []
        if not jars or not all(Path(jar).exists() for jar in jars):
            resolve(folder, cache / "maven", version, listed)
            jars = listed.read_text().strip().split(os.pathsep)
    return sorted(jars)


def resolve(folder: Path, repository: Path, version: str, listed: Path) -> None:
    """Has Maven fetch the jars and list them."""
    maven = shutil.which("mvn")
    if maven is None:
        fail("it is fetched by Maven, and there is no mvn on the PATH: install it (Debian: apt-get install maven; macOS: brew install maven).")
    (folder / "pom.xml").write_text(POM.format(version))
    unfinished, log = folder / "classpath.new", folder / "maven.log"
    options = [f"-Dmaven.repo.local={repository}", "-Dmaven.wagon.http.retryHandler.count=5", "-DincludeScope=runtime", f"-Dmdep.outputFile={unfinished}"]
    with log.open("wb") as output:
        done = subprocess.run(
            [maven, "--batch-mode", "--file", str(folder / "pom.xml"), RESOLVER, *options], stdout=output, stderr=output, stdin=subprocess.DEVNULL, check=False
        )
    if done.returncode or not unfinished.exists():
        fail(f"Maven could not fetch Neo4j {version}; the end of {log}:\n{last_lines(log)}")
    unfinished.replace(listed)


def last_lines(path: Path) -> str:
    """The end of a log."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:]) if path.exists() else "(it was not written)"
