"""Runs the actions in the server's own process (endpoints.yml has no action_endpoint; bot/assistant.py sets this one).

Measured (docs/decisions/0006-actions-in-process.md): 160 messages a second without actions, 26 with one over
HTTP, 31 with one in process through Rasa's schema check, 235 without the check.
"""

from __future__ import annotations

from typing import Any

from rasa.core.actions.action import RemoteAction
from rasa.utils.endpoints import EndpointConfig
from rasa_sdk.executor import ActionExecutor

from actions.actions import ActionAnswer


class InProcessActions(EndpointConfig):
    """An action endpoint that is a function call."""

    def __init__(self) -> None:
        super().__init__(url="in-process")
        self._executor = ActionExecutor()
        self._executor.register_action(ActionAnswer())

    async def request(
        self,
        method: str = "post",
        subpath: str | None = None,
        content_type: str | None = "application/json",
        compress: bool = False,
        **kwargs: Any,
    ) -> Any | None:
        """What RemoteAction calls: the action's result, as the action server would give it."""
        return await self._executor.run(kwargs["json"])


def skip_result_check() -> None:
    """Leave out RemoteAction's JSON-schema check of each result: 82 % of the time of a turn (cProfile, 3.6.21).

    Only for actions of this process, whose results are typed. A start-up test asserts that the method exists.

    Raises:
        RuntimeError: when Rasa has no such method (another version).
    """
    if not callable(getattr(RemoteAction, "_validate_action_result", None)):
        raise RuntimeError(
            "Rasa's RemoteAction has no _validate_action_result: this project needs rasa 3.6.21 (make setup)"
        )
    RemoteAction._validate_action_result = lambda self, result: True  # type: ignore[method-assign]
