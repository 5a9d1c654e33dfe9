//! `outpost man`: the manual page, made from the command line and the table of settings.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{BadUsage, Cli, print};
use crate::config::settings::SETTINGS;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A command with a page of its own, as in `outpost man kv put`
    command: Vec<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut root = Cli::command();
    root.build();
    let mut text = Vec::new();
    match args.command.as_slice() {
        [] => {
            // Not the whole page at once: a synopsis of fifty flags helps nobody.
            let page = Man::new(root);
            page.render_title(&mut text)?;
            page.render_name_section(&mut text)?;
            synopsis().to_writer(&mut text)?;
            page.render_description_section(&mut text)?;
            page.render_options_section(&mut text)?;
            page.render_subcommands_section(&mut text)?;
            page.render_extra_section(&mut text)?;
            settings().to_writer(&mut text)?;
            page.render_version_section(&mut text)?;
        }
        names => {
            let mut command = &root;
            for name in names {
                let found = command.find_subcommand(name);
                command = found.ok_or_else(|| BadUsage(format!("there is no command {:?}", names.join(" "))))?;
            }
            Man::new(command.clone()).render(&mut text)?;
        }
    }
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn synopsis() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold("outpost"), roman(" [OPTIONS] [COMMAND]")]);
    roff
}

/// The sections about variables, files and exit status.
fn settings() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["ENVIRONMENT AND FILE"]);
    for setting in SETTINGS {
        let default = setting.default_text().unwrap_or_else(|| "none".to_owned());
        let reload = if setting.live { " Applied by a reload." } else { "" };
        roff.control("TP", []);
        roff.text([bold(setting.env), roman(", key "), bold(setting.name)]);
        let (help, allowed) = (setting.help, setting.allowed);
        roff.text([roman(format!("{help}. Allowed: {allowed}. Default: {default}.{reload}"))]);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in [("0", "All went well."), ("1", "Something failed."), ("2", "Bad settings or usage.")] {
        roff.control("TP", []);
        roff.text([bold(status)]);
        roff.text([roman(meaning)]);
    }
    roff
}
