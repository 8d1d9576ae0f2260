"""What the token endpoint refuses with: flat, unlike the errors of the API."""

from typing import Final

from calendar_emulator.errors import Json

ERRORS: Final[dict[str, tuple[int, str]]] = {
    "access_denied": (403, "Requested client not authorized."),
    "access_not_configured": (400, "An administrator has to configure this application."),
    "admin_policy_enforced": (400, "Access to this account's data is restricted by a policy of its administrator."),
    "deleted_client": (401, "The OAuth client was deleted."),
    "disabled_client": (401, "The OAuth client was disabled."),
    "disallowed_useragent": (403, "This browser is not allowed."),
    "internal_failure": (500, "Internal failure."),
    "invalid_client": (401, "The provided client secret is invalid."),
    "invalid_grant": (400, "Token has been expired or revoked."),
    "invalid_rapt": (400, "reauth related error (invalid_rapt)"),
    "invalid_request": (400, "Missing required parameter."),
    "invalid_scope": (400, "Some requested scopes were invalid."),
    "org_internal": (403, "This client is restricted to users within its organization."),
    "origin_mismatch": (400, "Bad Request"),
    "policy_enforced": (400, "Advanced protection does not let this application in."),
    "rate_limit_exceeded": (429, "Rate limit exceeded."),
    "redirect_uri_mismatch": (400, "Bad Request"),
    "restricted_client": (403, "This application is not yet configured to make OAuth requests."),
    "server_error": (500, "Internal failure."),
    "slow_down": (403, "Polling too frequently."),
    "temporarily_unavailable": (503, "The service is temporarily unavailable."),
    "unauthorized_client": (401, "Unauthorized"),
    "unsupported_grant_type": (400, "Invalid grant_type."),
    "unsupported_response_type": (400, "Invalid response_type."),
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
