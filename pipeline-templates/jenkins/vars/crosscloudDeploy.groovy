// Generated from src/steps/deploy.ts by `npm run generate`. Do not edit.

Map call(Object... given) {
    return crosscloud.step(
        given,
        variable: 'crosscloudDeploy',
        name: 'deploy',
        inputs: ['release', 'env', 'reason', 'force', 'older', 'breakGlass', 'acrossMigration', 'without', 'missing', 'adopt', 'lockWait', 'plan'],
        attempts: 3
    )
}
