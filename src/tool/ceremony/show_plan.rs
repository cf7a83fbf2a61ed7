//! `plan`: everything that `run` would do, and every finding; touches nothing.

use serde::Serialize;

use crate::ceremony::facts::{self, Purpose};
use crate::ceremony::plan::{Plan, shown_args};
use crate::cli::CeremonyArgs;
use crate::context::Context;
use crate::error::Failure;
use crate::place;
use crate::report;

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(flatten)]
    plan: &'a Plan,
}

pub(crate) async fn show(context: &Context, args: &CeremonyArgs) -> Result<(), Failure> {
    let layout = context.layout()?;
    place::look(&layout)?;
    facts::check_nothing_under_way(&layout)?;
    let observed = facts::observe(context, &layout, &args.into(), Purpose::Start).await?;
    observed.settle(context).await;
    let plan = facts::plan(&observed)?;
    let document = Document {
        schema: "charon-dkg.plan/1",
        plan: &plan,
    };
    context.result(&text(&plan), &document)?;
    context.say("next, once all operators are ready: `charon-dkg run`");
    Ok(())
}

/// The plan for people.
fn text(plan: &Plan) -> String {
    let container = &plan.container;
    let mut lines = vec![
        format!(
            "cluster definition  {} ({})",
            plan.definition_hash, plan.definition_source
        ),
        format!(
            "this node           operator {} of {}",
            plan.node_index + 1,
            plan.operators
        ),
        format!(
            "result              {}, threshold {}, network {}",
            report::count(plan.validators, "validator"),
            plan.threshold,
            plan.network
        ),
    ];
    for (name, value) in plan.payouts.lines() {
        lines.push(format!("{name:<19} {value}"));
    }
    lines.extend([
        format!(
            "charon              {} as {}{}",
            plan.image_tag,
            container.image,
            if plan.pull { " (to be pulled)" } else { "" }
        ),
        match &plan.charon_binary {
            Some(_) => format!(
                "process             of this machine, user {}",
                container.user.as_deref().unwrap_or("unknown")
            ),
            None => format!(
                "container           {} on a {} engine, user {}, network {}",
                container.name,
                plan.engine_mode,
                container.user.as_deref().unwrap_or("of the image"),
                container.network.as_deref().unwrap_or("default"),
            ),
        },
        format!(
            "command             {}",
            shown_args(&container.args).join(" ")
        ),
    ]);
    for mount in &container.mounts {
        lines.push(format!(
            "mount               {} -> {}{}",
            mount.source.display(),
            mount.target,
            if mount.read_only { " (read-only)" } else { "" }
        ));
    }
    let mut text = lines
        .iter()
        .map(|line| report::clean(line) + "\n")
        .collect::<String>();
    text.push_str(&report::findings_text(&plan.notes));
    text
}
