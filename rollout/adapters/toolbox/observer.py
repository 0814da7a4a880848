"""The port `Observer` on toolbox pods."""

from __future__ import annotations

from rollout.adapters.observer import PlaybookObserver
from rollout.adapters.toolbox.manifest import ToolboxSettings
from rollout.adapters.toolbox.port import Toolbox
from rollout.adapters.toolbox.runs import Note, ToolboxRuns
from rollout.ports.clock import Clock


class ToolboxObserver(PlaybookObserver):
    """As over SSH, with a pod per node in place of a connection. Raises `UsageError` for settings without an image.

    `note`: told of pods that could not be deleted.
    """

    def __init__(self, toolbox: Toolbox, settings: ToolboxSettings, clock: Clock, note: Note) -> None:
        settings.check()
        super().__init__(ToolboxRuns(toolbox, settings, clock, note), clock, agent_socket=settings.agent_socket)
