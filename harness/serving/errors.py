"""Errors of the endpoint in OpenAI's form: {"error": {"message", "type", "param", "code"}}."""

from typing import Any


class ApiError(Exception):
    """An error with the HTTP status it is answered with."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code

    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}
