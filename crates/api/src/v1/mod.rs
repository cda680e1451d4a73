//! `/api/v1`: everything there is to see and do, shaped as resources.

mod controls;
mod info;
mod listing;
mod log;
mod queues;
mod settings;
mod view;
mod workers;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::App;

/// All of its routes.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(info::info))
        .routes(routes!(queues::queues))
        .routes(routes!(queues::queue, settings::put_queue))
        .routes(routes!(listing::list_tasks))
        .routes(routes!(controls::get_task, controls::delete_task))
        .routes(routes!(controls::cancel_task))
        .routes(routes!(controls::retry_task))
        .routes(routes!(queues::pause))
        .routes(routes!(queues::resume))
        .routes(routes!(queues::purge))
        .routes(routes!(workers::workers))
        .merge(process())
}

/// Those of a single process, which a worker serves too.
pub(crate) fn process() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(log::log_level, log::put_log_level))
}
