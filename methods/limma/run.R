# limma's removeBatchEffect (Ritchie et al. 2015) on log counts, then principal components.
# Rscript run.R PROBLEM OUTPUT PARAMS: folder of counts.h5ad, the .h5ad to write, JSON of the parameters.

packages <- c("hdf5r", "jsonlite", "limma", "Matrix")
lacking <- packages[!vapply(packages, requireNamespace, logical(1), quietly = TRUE)]
if (length(lacking) > 0) {
  stop("R lacks ", toString(lacking), ": install what config/envs/r.yaml names", call. = FALSE)
}
suppressPackageStartupMessages({
  library(hdf5r)
  library(Matrix)
})

# A column of obs, categorical or plain.
read_column <- function(obs, name) {
  column <- obs[[name]]
  if (inherits(column, "H5Group")) {
    return(column[["categories"]][][column[["codes"]][] + 1L])
  }
  column[]
}

# Genes x cells, and cells' names and batches: CSR by cells is CSC of the transpose, which R works with.
read_problem <- function(path) {
  file <- H5File$new(path, mode = "r")
  on.exit(file$close_all())
  x <- file[["X"]]
  counts <- sparseMatrix(
    i = x[["indices"]][], p = x[["indptr"]][], x = x[["data"]][], index1 = FALSE,
    dims = rev(h5attr(x, "shape"))
  )
  obs <- file[["obs"]]
  list(
    counts = counts,
    cells = read_column(obs, h5attr(obs, "_index")),
    batch = factor(read_column(obs, "batch"))
  )
}

# Embedding of cells x dimensions as X of an .h5ad; R's columns are the rows of HDF5.
write_output <- function(path, embedding, cells) {
  text <- H5T_STRING$new(size = Inf)$set_cset("UTF-8")
  tell <- function(object, ...) {
    values <- c(...)
    for (name in names(values)) {
      object$create_attr(name, values[[name]], dtype = text, space = H5S$new("scalar"))
    }
  }
  file <- H5File$new(path, mode = "w")
  on.exit(file$close_all())
  tell(file, "encoding-type" = "anndata", "encoding-version" = "0.1.0")
  file[["X"]] <- t(embedding)
  tell(file[["X"]], "encoding-type" = "array", "encoding-version" = "0.2.0")
  names <- list(obs = cells, var = colnames(embedding))
  for (axis in names(names)) {
    frame <- file$create_group(axis)
    tell(frame, "encoding-type" = "dataframe", "encoding-version" = "0.2.0", "_index" = "_index")
    frame$create_attr("column-order", dtype = text, space = H5S$new("simple", dims = 0, maxdims = 0))
    frame$create_dataset("_index", names[[axis]], dtype = text)
    tell(frame[["_index"]], "encoding-type" = "string-array", "encoding-version" = "0.2.0")
  }
}

arguments <- commandArgs(trailingOnly = TRUE)
problem <- read_problem(file.path(arguments[1], "counts.h5ad"))
params <- jsonlite::fromJSON(arguments[3])

size <- colSums(problem$counts)
logged <- as.matrix(problem$counts %*% Diagonal(x = 1e4 / size))
logged <- log1p(logged)
corrected <- limma::removeBatchEffect(logged, batch = problem$batch)
n <- min(params$n_latent, dim(corrected) - 1L)
write_output(arguments[2], prcomp(t(corrected), rank. = n)$x, problem$cells)
versions <- lapply(packages, function(name) as.character(packageVersion(name)))
names(versions) <- packages
versions$R <- as.character(getRversion())
writeLines(jsonlite::toJSON(versions, auto_unbox = TRUE), "versions.json")
