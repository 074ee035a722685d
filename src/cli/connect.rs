//! `latchkey connect`: prints the configuration with which a reverse proxy protects an application.

use super::failure::{End, Failure, Result};
use super::output_file::Output;
use super::print;
use crate::domain::connect::{ConfigFile, LATCHKEY, LISTEN, Plan, Proxy, Typed};
use crate::files::Readers;
use clap::builder::PossibleValuesParser;
use std::path::PathBuf;

/// The proxy, and the addresses of one application.
#[derive(clap::Args, Clone, Debug)]
pub struct ConnectArgs {
    /// The reverse proxy
    #[arg(value_parser = PossibleValuesParser::new(Proxy::ALL.map(Proxy::word)))]
    proxy: String,
    /// The name under which clients reach the application, such as orders.example
    #[arg(long)]
    host: String,
    /// The application; for a gateway, a Service of the cluster (orders.shop:9000) or the address of a machine
    #[arg(long, value_name = "HOST:PORT")]
    upstream: String,
    /// The catalog that decides by method and path which scope a request needs [default: any valid key passes]
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    catalog: String,
    /// The workspace that a key must reach, by slug or uid [default: any]
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    workspace: String,
    /// Where the proxy listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = LISTEN)]
    listen: String,
    /// Where Latchkey listens
    #[arg(long, value_name = "HOST:PORT", default_value = LATCHKEY)]
    latchkey: String,
    /// Write the files to this folder instead of printing them; no file is replaced
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub fn run(args: &ConnectArgs) -> Result<End> {
    let typed = Typed {
        host: args.host.clone(),
        upstream: args.upstream.clone(),
        listen: args.listen.clone(),
        latchkey: args.latchkey.clone(),
        catalog: args.catalog.clone(),
        workspace: args.workspace.clone(),
    };
    let plan = Plan::read(&typed).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(|fault| format!("--{fault}")).collect();
        Failure::refused(faults.join("; "))
    })?;
    let Some(proxy) = Proxy::parse(&args.proxy) else {
        return Err(Failure::Usage(format!("there is no proxy {}", args.proxy)));
    };
    plan.check_for(proxy)
        .map_err(|fault| Failure::refused(format!("--{fault}")))?;
    let files = plan.files(proxy)?;
    let Some(folder) = &args.out else {
        let text: Vec<String> = files.iter().map(|file| shown(file, files.len())).collect();
        print::print_bytes(text.join("\n").as_bytes())?;
        return Ok(End::Done);
    };
    for file in files {
        let path = folder.join(&file.name);
        let mut output = Output::create(&path, Readers::Everybody)?;
        output.write_text(&file.text)?;
        output.put_in_place()?;
        print::print(&path.display().to_string())?;
    }
    Ok(End::Done)
}

/// A file, below its name if there are several.
fn shown(file: &ConfigFile, count: usize) -> String {
    match count {
        1 => file.text.clone(),
        _ => {
            let mark = if file.name.ends_with(".lua") {
                "--"
            } else {
                "#"
            };
            format!("{mark} ==== {} ====\n{}", file.name, file.text)
        }
    }
}
