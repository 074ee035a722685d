//! Checks of refusals: they must be complete problem details that agree with the status.

use serde_json::Value;

use super::client::Response;

impl Response {
    /// Checks for a problem with this status and code and with every member that the API promises. Returns the problem.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) -> Value {
        let shown = || self.exchange();
        assert_eq!(self.status, status, "unexpected status\n{}", shown());
        let media_type = self.header("content-type");
        assert_eq!(media_type, Some("application/problem+json"), "{}", shown());
        let problem = self.json();
        assert_eq!(problem["code"], code, "{}", shown());
        let urn = format!("urn:latchkey:problem:{code}");
        assert_eq!(problem["type"], urn.as_str(), "{}", shown());
        assert_eq!(problem["status"], status, "{}", shown());
        assert!(problem["title"].is_string(), "{}", shown());
        assert!(problem["detail"].is_string(), "{}", shown());
        let id = self.header("x-request-id");
        assert_eq!(problem["request_id"].as_str(), id, "{}", shown());
        problem
    }

    /// Checks for a 422 that names exactly this member.
    #[track_caller]
    pub fn refused_field(&self, field: &str) {
        let problem = self.refused(422, "invalid-field");
        assert_eq!(problem["field"], field, "{}", self.exchange());
    }

    /// The ids of a page of keys, or the uids of a page of anything else.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        let body = self.json();
        let items = body["items"].as_array();
        let items = items.unwrap_or_else(|| panic!("no list\n{}", self.exchange()));
        let id = |item: &Value| {
            item["id"]
                .as_str()
                .or(item["uid"].as_str())
                .map(str::to_owned)
        };
        items.iter().filter_map(id).collect()
    }
}
