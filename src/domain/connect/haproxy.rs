//! The files of HAProxy, made of its two examples.

use super::edits::Draft;
use super::files::{file, heading, with_query};
use super::{AGENT_PORT, Address, ConfigFile, Plan};
use crate::error::Result;

/// The files with the Lua action.
pub fn lua(plan: &Plan) -> Result<Vec<ConfigFile>> {
    let asked = with_query("/auth/haproxy", &plan.demands());
    let lua = Draft(include_str!("../../../examples/haproxy/latchkey.lua").to_owned()).put(
        "lua.latchkey /auth/haproxy?catalog=billing",
        &format!("lua.latchkey {asked}"),
    )?;
    let more = [
        "Put latchkey.lua beside this file, write its full path after `lua-load-per-thread`, and check both: haproxy -c -f haproxy.cfg",
        TLS,
    ];
    let draft = common(plan, include_str!("../../../examples/haproxy/haproxy.cfg"))?
        .put_part(
            QUESTION,
            "    http-request unset-var(txn.latchkey)",
            "    # The question.\n",
        )?
        .put(
            "    http-request lua.latchkey /auth/haproxy?catalog=billing if billing\n",
            "",
        )?
        .put(
            "lua.latchkey /auth/haproxy unless billing",
            &format!("lua.latchkey {asked}"),
        )?
        .put(
            "server latchkey 127.0.0.1:8420",
            &format!("server latchkey {}", plan.latchkey),
        )?;
    Ok(vec![
        file("haproxy.cfg", heading(plan, "#", &more) + &draft.0),
        file("latchkey.lua", lua.0),
    ])
}

/// The files with Latchkey as the agent, which listens on a port of its own.
pub fn spoe(plan: &Plan) -> Result<Vec<ConfigFile>> {
    let asked = with_query("/auth/haproxy", &plan.demands());
    let agent = Address {
        port: AGENT_PORT,
        ..plan.latchkey.clone()
    };
    let plan = &Plan {
        latchkey: agent.clone(),
        ..plan.clone()
    };
    let listens = format!("Start Latchkey with --haproxy-agent {agent} too.");
    let more = [
        "Put spoe.conf beside this file, write its full path after `config`, and check both: haproxy -c -f haproxy.cfg",
        &listens,
        TLS,
    ];
    let target = "    http-request set-var(txn.latchkey.target) str(/auth/haproxy";
    let draft = common(
        plan,
        include_str!("../../../examples/haproxy-spoe/haproxy.cfg"),
    )?
    .put_part(
        QUESTION,
        "    http-request unset-var(txn.latchkey.allowed)",
        "    # The question.\n",
    )?
    .put(&format!("{target}?catalog=billing) if billing\n"), "")?
    .put(
        "str(/auth/haproxy) unless billing",
        &format!("str({asked})"),
    )?
    .put(
        "server latchkey 127.0.0.1:8422",
        &format!("server latchkey {agent}"),
    )?;
    let spoe = include_str!("../../../examples/haproxy-spoe/spoe.conf");
    Ok(vec![
        file("haproxy.cfg", heading(plan, "#", &more) + &draft.0),
        file("spoe.conf", spoe.to_owned()),
    ])
}

const TLS: &str =
    "For TLS, add `ssl crt FILE alpn h2,http/1.1` to `bind`; FILE has the certificate and its key.";

/// The beginning of the part that asks.
const QUESTION: &str = "    # The question. A request passes";

/// What the two examples share.
fn common(plan: &Plan, example: &str) -> Result<Draft> {
    let host = format!(
        "bind {}\n\n    # Only this name is served here.\n    acl host req.hdr(host),field(1,:),lower -m str {}\n    http-request deny deny_status 421 unless host",
        plan.listen, plan.host
    );
    Draft(example.to_owned())
        .cut("# Latchkey in front of", "global\n")?
        .put("bind 127.0.0.1:8083", &host)?
        .put(
            "server application 127.0.0.1:9000",
            &format!("server application {}", plan.upstream),
        )
}
