//! From a project directory to its pipelines, or to every problem of every file.

use std::path::{Path, PathBuf};

use super::near::did_you_mean;
use super::raw::{Env, Report, Spot};
use super::{Pipeline, Problem, bronze, gold, names, silver};
use crate::error::{Error, Result};

const LAYERS: &str = "layers";

/// All pipelines under `layers/` of `project`, by name. `env` fills `${VAR}` in.
///
/// # Errors
/// `Kind::Definition` with all problems of all files.
pub fn load(project: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Pipeline>> {
    let names = pipeline_names(project).map_err(Error::definition)?;
    let mut pipelines = Vec::new();
    let mut problems: Vec<Problem> = Vec::new();
    for name in names {
        match pipeline(project, &name, env) {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(found) => {
                for problem in found {
                    // Two pipelines can share a schema or a file of reference data.
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                }
            }
        }
    }
    if problems.is_empty() {
        Ok(pipelines)
    } else {
        Err(Error::definition(problems))
    }
}

/// The pipeline `name` of `project`; the others are not looked at.
///
/// # Errors
/// `Kind::Definition` with all problems of its files, or where there is no such pipeline.
pub fn load_one(project: &Path, name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Pipeline> {
    let names = pipeline_names(project).map_err(Error::definition)?;
    if !names.iter().any(|known| known == name) {
        let mut report = Report::new(&inside(project, LAYERS));
        let suggestion = did_you_mean(name, names.iter().map(String::as_str));
        report.add(&Spot::file(), format!("there is no pipeline {name:?}"), suggestion);
        return Err(Error::definition(report.into_problems()));
    }
    pipeline(project, name, env).map_err(Error::definition)
}

fn pipeline(project: &Path, name: &str, env: Env<'_>) -> Result<Pipeline, Vec<Problem>> {
    let folder = inside(project, LAYERS).join(name);
    let mut report = Report::new(&folder);
    names::check_table_name(name, &Spot::file(), &mut report);
    let mut problems = report.into_problems();
    let base = inside(project, "");
    let mut keep = |result: &mut Vec<Problem>| problems.append(result);
    let bronze = bronze::read(&folder.join("bronze.toml"), &base, env)
        .map_err(|mut found| keep(&mut found))
        .ok();
    let silver = silver::read(&folder.join("silver.toml"), &base, env)
        .map_err(|mut found| keep(&mut found))
        .ok();
    let gold = gold::read(&folder.join("gold.toml"), silver.as_ref(), env)
        .map_err(|mut found| keep(&mut found))
        .ok();
    match (bronze, silver, gold) {
        (Some(bronze), Some(silver), Some(gold)) if problems.is_empty() => Ok(Pipeline {
            name: name.to_owned(),
            bronze,
            silver,
            gold,
        }),
        _ => Err(problems),
    }
}

/// The directories under `layers/`, sorted; hidden ones and plain files are none of ours.
fn pipeline_names(project: &Path) -> Result<Vec<String>, Vec<Problem>> {
    let folder = inside(project, LAYERS);
    let mut report = Report::new(&folder);
    let mut names = Vec::new();
    match std::fs::read_dir(&folder) {
        Ok(entries) => {
            for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
                match entry.file_name().into_string() {
                    Ok(name) if name.starts_with('.') => {}
                    Ok(name) => names.push(name),
                    Err(name) => report.add(&Spot::file(), format!("the name {} is not UTF-8", name.display()), None),
                }
            }
        }
        Err(error) => {
            let next = "start in the project's directory, or name it with --project".to_owned();
            report.add(&Spot::file(), format!("cannot be read: {error}"), Some(next));
        }
    }
    if names.is_empty() && report.is_clean() {
        let next = "declare layers/<pipeline>/{bronze,silver,gold}.toml".to_owned();
        report.add(&Spot::file(), "declares no pipeline", Some(next));
    }
    names.sort();
    if report.is_clean() {
        Ok(names)
    } else {
        Err(report.into_problems())
    }
}

/// `path` in the project, as a person in the project's directory would write it.
fn inside(project: &Path, path: &str) -> PathBuf {
    let here = project.as_os_str().is_empty() || project == Path::new(".");
    if here { PathBuf::from(path) } else { project.join(path) }
}
