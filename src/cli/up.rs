//! `swarm up`: a whole swarm on this machine, as processes.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use swarm_actors::Wanted;
use swarm_actors::identity::Identity;
use swarm_protocols::{NodeId, Role};

use super::error::{CliError, Exit};
use super::logging::{self, Verbosity};
use super::node::cores;
use super::output::Output;
use super::signals::Signals;
use super::system;
use crate::input::InputError;
use crate::swarm::fleet::{Fleet, FleetError};
use crate::swarm::jobs::{Loaded, Terms};
use crate::swarm::operator::Operator;
use crate::swarm::outcome::{Outcome, Shown};
use crate::swarm::process::MISCONFIGURED;
use crate::swarm::progress::{Progress, say};
use crate::swarm::report::Colour;
use crate::swarm::run_folder::RunFolder;
use crate::swarm::supervision::TIMING;
use crate::swarm::topology::Topology;

#[derive(Debug, Args)]
pub(crate) struct Up {
    /// A topology in TOML, such as examples/topologies/star.toml
    topology: PathBuf,
    /// Keep the nodes running after the jobs, until a signal
    #[arg(long)]
    keep: bool,
    /// Show the whole of every result, and each node, instead of a summary
    #[arg(long)]
    full: bool,
}

impl Up {
    pub(crate) fn run(self, output: Output) -> Result<(), CliError> {
        logging::start(Verbosity::Warnings)?;
        let shown = match (self.full, self.keep) {
            (true, _) => Shown::All,
            (false, true) => Shown::SummaryOfKept,
            (false, false) => Shown::Summary,
        };
        let topology = Topology::read(&self.topology, cores()).map_err(|error| CliError::from(&error))?;
        system::block_on(async {
            let mut signals = Signals::listen()?;
            let mut fleet = Fleet::new()?;
            let outcome = tokio::select! {
                outcome = bring_up(&topology, &mut fleet, self.keep, shown, output) => outcome,
                signal = signals.next() => Err(signal.into()),
            };
            signals.during_stop(fleet.stop()).await;
            outcome
        })
    }
}

/// Starts the nodes, does the jobs, prints what came out. With `keep` it ends only with the swarm.
async fn bring_up(
    topology: &Topology,
    fleet: &mut Fleet,
    keep: bool,
    shown: Shown,
    output: Output,
) -> Result<(), CliError> {
    let mut progress = match output {
        Output::Text => Progress::shown(),
        Output::Json => Progress::silent(),
    };
    let jobs: Vec<_> = topology.jobs.iter().map(|job| job.job.clone()).collect();
    let inputs = tokio::task::spawn_blocking(move || {
        jobs.iter().map(|job| job.load()).collect::<Result<Vec<Box<dyn Loaded>>, InputError>>()
    });

    let nodes = topology.agents.len() + 1;
    progress.stage(format_args!("{}: starting {nodes} nodes", topology.name));
    let address = fleet.start(topology).await?;
    let fleet = &*fleet;
    let identity = fleet.issue(&operator_name(topology), Role::Operator)?;
    let coordinator = topology.coordinator.name.clone();
    // Dropped when the swarm ends, whatever it ends by.
    let revoked = fleet.revocation_list()?;
    let _run_folder = keep.then(|| run_folder(address, &identity, &revoked));
    fleet
        .while_coordinated(async {
            let wanted = Wanted::Node(coordinator.clone());
            let operator = Operator::connect(identity, wanted, address, TIMING).await?;
            operator.agents_listed(fleet).await?;
            fleet.manned().await?;
            if !topology.jobs.is_empty() {
                progress.stage(format_args!("{}: reading data", topology.name));
            }
            let inputs = inputs.await.map_err(|error| CliError::new(Exit::Failed, error))??;

            let mut done = Vec::with_capacity(inputs.len());
            for (job, input) in topology.jobs.iter().zip(inputs) {
                let name = job.name.to_string();
                let running = async {
                    Ok::<_, CliError>(input.run(&operator, &name, Terms::default(), &mut progress).await?)
                };
                let outcome = fleet.while_manned(running).await;
                done.push((job, outcome.map_err(|error| error.within(format_args!("job {name}")))?));
            }
            let status = operator.status().await?;
            // Nothing depends on it; the coordinator would end the session when it stops.
            actix_rt::spawn(operator.leave());
            progress.clear();
            let outcome = Outcome::new(&topology.name, fleet, done, &status, shown, Colour::of_stdout());
            output.print_aside(&outcome).await?;
            if keep {
                say(format_args!("{coordinator} listens on {address}; Ctrl-C stops the swarm"));
                return fleet.while_manned(std::future::pending()).await;
            }
            Ok(())
        })
        .await
}

/// Leaves the identity for commands that connect to the swarm; without it they have to be given one.
fn run_folder(address: SocketAddr, identity: &Identity, revoked: &str) -> Option<RunFolder> {
    let written = RunFolder::write(address, identity, revoked);
    written.inspect_err(|error| tracing::warn!("other commands get no identity: {error}")).ok()
}

/// A name for this process that no node has.
fn operator_name(topology: &Topology) -> NodeId {
    let taken = |name: &NodeId| {
        topology.coordinator.name == *name || topology.agents.iter().any(|agent| agent.name == *name)
    };
    let names = std::iter::once("operator".to_owned()).chain((2..).map(|n| format!("operator-{n}")));
    let mut names = names.map(|name| name.parse().expect("letters and digits are a name"));
    names.find(|name| !taken(name)).expect("there are more numbers than nodes")
}

impl From<FleetError> for CliError {
    fn from(error: FleetError) -> Self {
        let exit = match &error {
            // The child has said why, and its exit code says what kind of failure it is.
            FleetError::NotReady { end, .. } | FleetError::NoAgentLeft { unable: Some((_, end)), .. } => {
                match end.unable() {
                    Some(MISCONFIGURED) => Exit::BadConfiguration,
                    Some(_) => Exit::TryAgain,
                    None => Exit::Unavailable,
                }
            }
            FleetError::CoordinatorEnded { .. } => Exit::Unavailable,
            FleetError::Authority(_)
            | FleetError::Validity(_)
            | FleetError::Spawn { .. }
            | FleetError::NoAgentLeft { .. } => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::document::Document;
    use std::path::Path;

    #[test]
    fn the_operator_has_a_name_of_its_own() {
        let named = |name: &str| {
            let text = format!("name = \"one\"\n[[nodes]]\nname = \"{name}\"\nrole = \"coordinator\"\n");
            let mut document = Document::new(Path::new("one.toml"), &text);
            let sections = document.sections().unwrap();
            operator_name(&Topology::parse(&mut document, sections, cores()).unwrap()).to_string()
        };
        assert_eq!(named("hub"), "operator");
        assert_eq!(named("operator"), "operator-2");
    }
}
