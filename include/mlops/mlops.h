// Everything a trainer needs. Reading order: client.h, run.h, metric.h, options.h, health.h, reader.h, delivery.h,
// artifact.h, artifacts.h, registry.h, manage.h, settings.h, doctor.h.
#pragma once

#include "mlops/artifact.h"
#include "mlops/artifacts.h"
#include "mlops/client.h"
#include "mlops/config.h"
#include "mlops/dataset.h"
#include "mlops/delivery.h"
#include "mlops/doctor.h"
#include "mlops/health.h"
#include "mlops/manage.h"
#include "mlops/metric.h"
#include "mlops/model.h"
#include "mlops/options.h"
#include "mlops/reader.h"
#include "mlops/registry.h"
#include "mlops/run.h"
#include "mlops/settings.h"
#include "mlops/status.h"
