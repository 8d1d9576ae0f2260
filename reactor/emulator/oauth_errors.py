"""What the token endpoint refuses with: flat, unlike the errors of the API."""

from typing import Final

from reactor.emulator.errors import Json

ERRORS: Final[dict[str, tuple[int, str]]] = {
    "invalid_grant": (400, "Token has been expired or revoked."),
    "invalid_rapt": (400, "reauth related error (invalid_rapt)"),
    "invalid_client": (401, "The provided client secret is invalid."),
    "deleted_client": (401, "The OAuth client was deleted."),
    "disabled_client": (401, "The OAuth client was disabled."),
    "org_internal": (403, "This client is restricted to users within its organization."),
    "access_denied": (403, "Requested client not authorized."),
    "unauthorized_client": (401, "Unauthorized"),
    "unsupported_grant_type": (400, "Invalid grant_type."),
    "invalid_scope": (400, "Some requested scopes were invalid."),
    "invalid_request": (400, "Missing required parameter."),
    "admin_policy_enforced": (400, "Access to this account's data is restricted by a policy of its administrator."),
    "rate_limit_exceeded": (429, "Rate limit exceeded."),
    "internal_failure": (500, "Internal failure."),
    "temporarily_unavailable": (503, "The service is temporarily unavailable."),
}
"""Every error of the token endpoint with its status and usual description."""


class OAuthError(Exception):
    """The token endpoint refuses.

    Attributes:
        status: The HTTP status.
        error: The error's name.
    """

    def __init__(self, error: str, description: str = "", *, status: int = 0) -> None:
        known_status, known = ERRORS.get(error, (400, "Bad Request"))
        self.error, self.status = error, status or known_status
        super().__init__(description or known)

    def body(self) -> Json:
        """The answer's JSON."""
        if self.error == "invalid_rapt":
            return {"error": "invalid_grant", "error_description": str(self), "error_subtype": "invalid_rapt"}
        return {"error": self.error, "error_description": str(self)}
